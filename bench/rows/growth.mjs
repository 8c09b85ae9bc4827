import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { comparison, skipped } from "../lib/comparison.mjs";
import { DATA_SETS, dataOptions, longTexts } from "../lib/examples.mjs";
import { openBase } from "../lib/lowrank.mjs";
import { MODEL } from "../lib/model.mjs";
import { alternate, hasOption, side, trainHere } from "../lib/side.mjs";
import { median, sum } from "../lib/statistics.mjs";

const EXAMPLES = [1_000, 4_000, 16_000];
const LENGTHS = [512, 1024, 2048, 4096];
const SMALL_MB = 20;
const LARGE_MB = 40;
/** Bounds what a run may take; growth is read off long before. */
const MOST_GB = 16;

/** Rows of shell-recipes over and over, each with a number that makes it another: until there are so many rows or bytes. */
async function repeatedRows(context, { count = Number.POSITIVE_INFINITY, bytes = Number.POSITIVE_INFINITY }) {
  const lines = (await readFile(DATA_SETS["shell-recipes"].path, "utf8"))
    .trimEnd()
    .split("\n")
    .map(JSON.parse);
  const path = join(context.work, `rows-${Number.isFinite(count) ? count : `${bytes}b`}.jsonl`);
  const file = createWriteStream(path);
  for (let i = 0, written = 0; i < count && written < bytes; i++) {
    const { prompt, command } = lines[i % lines.length];
    const line = `${JSON.stringify({ prompt: `${prompt} (${i})`, command })}\n`;
    written += Buffer.byteLength(line);
    if (!file.write(line)) await once(file, "drain");
  }
  file.end();
  await once(file, "finish");
  return { path, promptField: "prompt", completionField: "command" };
}

async function byExamples(context) {
  const sides = {};
  for (const count of EXAMPLES) {
    const data = await repeatedRows(context, { count });
    sides[count] = (seed) =>
      trainHere(context, { ...dataOptions(data), maxSteps: 5, seed, checkpointEvery: 1000 });
  }
  const runs = await alternate(context, sides);
  const perToken = (r) => (1e6 * sum(r.stepSeconds.slice(1))) / sum(r.trieTokens.slice(1));
  const perExample = (count) => (r) => (1000 * r.firstStepSeconds) / count;
  const [least, most] = [EXAMPLES[0], EXAMPLES.at(-1)];
  const lines = [
    comparison({
      what: `training step per token, ${most} examples`,
      ...{
        unit: "µs",
        ours: runs[most].map(perToken),
        peer: `${least} examples`,
        theirs: runs[least].map(perToken),
      },
      ...{ target: { of: "ratio", atMost: 1.1 }, note: "flat; a tenth for noise" },
    }),
    comparison({
      what: `start to first step per example, ${most} examples`,
      ...{ unit: "ms", ours: runs[most].map(perExample(most)) },
      ...{ peer: `${least} examples`, theirs: runs[least].map(perExample(least)) },
      note: "falls: the model's own start is shared by more",
    }),
  ];
  return { lines, runs };
}

/** Peak memory of reading and encoding, small against large; from the difference, what a gigabyte would need. */
async function byBytes(context) {
  const sides = {};
  for (const megabytes of [SMALL_MB, LARGE_MB]) {
    const data = await repeatedRows(context, { bytes: megabytes * 1e6 });
    sides[megabytes] = () => side("plan.mjs", dataOptions(data));
  }
  const runs = await alternate({ ...context, rounds: Math.min(context.rounds, 3) }, sides);
  const memory = (r) => r.peakRssBytes / 1e9;
  const [small, large] = [SMALL_MB, LARGE_MB].map((mb) => runs[mb].map(memory));
  const slope = Math.max(0, (median(large) - median(small)) / ((LARGE_MB - SMALL_MB) / 1000)); // less is noise
  const line = comparison({
    what: `reading and encoding ${LARGE_MB} MB of JSON lines, peak memory`,
    ...{
      unit: "GB",
      ours: large,
      peer: `${SMALL_MB} MB`,
      theirs: small,
      target: { of: "ratio", atMost: 1.1 },
    },
    note: `${slope.toFixed(1)} bytes of memory per byte of data: 1 GB would need ${(slope + median(small)).toFixed(1)} GB`,
  });
  return { lines: [line], runs };
}

async function byLength(context) {
  const recompute = hasOption("recompute");
  const lengths = recompute ? LENGTHS : LENGTHS.slice(0, 3);
  const base = await openBase(MODEL, { offline: true });
  const sides = {};
  for (const length of lengths) {
    const texts = await longTexts(context, base, { count: 2, tokens: length + 1 });
    sides[length] = (seed) =>
      trainHere(context, {
        ...{
          ...dataOptions(texts),
          batchSize: 1,
          maxLength: length + 1,
          maxSteps: 2,
          seed,
          checkpointEvery: 1000,
        },
        ...(recompute ? { recompute: "layer" } : {}),
      });
  }
  const runs = await alternate({ ...context, rounds: 1 }, sides);
  const memory = (length) => runs[length].map((r) => r.peakRssBytes / 1e9);
  const mode = recompute ? "recompute layer" : "no recompute";
  const lines = lengths.map((length) => {
    const longest = length === 4096;
    const rest = longest ? { target: { of: "value", atMost: 3 } } : {};
    const note = `${median(runs[length].map((r) => r.stepSeconds[1])).toFixed(1)} s a step; one run`;
    return comparison({
      what: `training at T = ${length}, ${mode}, peak memory`,
      unit: "GB",
      ours: memory(length),
      ...rest,
      note,
    });
  });
  const missing = recompute
    ? []
    : [skipped("training at T = 4096", `no option \`recompute\` yet; more than ${MOST_GB} GB without`)];
  return { lines: [...lines, ...missing], runs };
}

async function measure(context) {
  const parts = [await byExamples(context), await byBytes(context), await byLength(context)];
  return { lines: parts.flatMap((p) => p.lines), runs: parts.map((p) => p.runs) };
}

/** How cost grows with data and length. */
export const growth = {
  name: "growth",
  title: "Growth",
  about:
    "Rows of shell-recipes over and over, each with a number of its own, batch 8. Long rows: plain text, every token a label, batch 1.",
  measure,
};
