import { type LoadedModel, loadModel } from "lowrank";
import type { Experiment, Verdict } from "../experiment.ts";
import { loraOn, PAPER_METHODS, type PaperMethod, QV } from "../lab/methods.ts";
import type { Size } from "../lab/sizes.ts";
import { median } from "../lab/statistics.ts";

/** Batch and length of the paper's Table 1, both an eighth of them (batch 1 stays). */
const SHAPES: readonly (readonly [batch: number, length: number])[] = [
  [4, 64],
  [2, 32],
  [1, 16],
];

const MERGED = "LoRA, merged";
const CONTROL = "the base again";
/** What a ratio may differ from 1 by and still be noise. */
const NOISE = 0.05;

/** A variant beside the base, in turn. */
interface Timed {
  readonly variant: string;
  readonly shape: string;
  readonly ms: readonly number[];
  /** Of the base, in the same rounds. */
  readonly baseMs: readonly number[];
}

function sequences(batch: number, length: number, vocabulary: number): number[][] {
  return Array.from({ length: batch }, (_, r) =>
    Array.from({ length }, (_, i) => (7919 * (r * length + i) + 13) % vocabulary),
  );
}

async function millisecondsOf(model: LoadedModel, batch: number, length: number): Promise<number> {
  const tokens = sequences(batch, length, model.base.config.vocabSize);
  const started = performance.now();
  await model.nextLogits(tokens);
  return performance.now() - started;
}

/** Times a variant and the base in turn, so that a machine that slows down slows both; who is first changes every round. */
async function timeBeside(
  base: LoadedModel,
  variant: string,
  model: LoadedModel,
  { repetitions }: Size,
): Promise<Timed[]> {
  const found: Timed[] = [];
  for (const [batch, length] of SHAPES) {
    const [ms, baseMs]: [number[], number[]] = [[], []];
    for (let round = -1; round < repetitions; round++) {
      const isFirst = round % 2 === 0;
      const before = isFirst ? await millisecondsOf(model, batch, length) : null;
      const baseTime = await millisecondsOf(base, batch, length);
      const time = before ?? (await millisecondsOf(model, batch, length));
      if (round < 0) continue; // shapes are planned and memory is taken
      ms.push(time);
      baseMs.push(baseTime);
    }
    found.push({ variant, shape: `${batch} × ${length}`, ms, baseMs });
  }
  return found;
}

/** Table 1. */
export const latency: Experiment = {
  name: "latency",
  section: "§3, Table 1",
  title: "What inference costs",
  question:
    "Bottleneck adapters add layers that must be computed one after the other. LoRA can be merged away. What do they cost?",
  theirs:
    "GPT-2 medium, batch × length 32 × 512, 16 × 256, 1 × 128: Adapter-L +2.2, +5.0, +20.7%; Adapter-H +3.0, +8.3, +30.3%; merged LoRA ±0.",
  version: 1,
  measure: async (lab, size) => {
    const bottlenecks = PAPER_METHODS.filter(({ name }) => name === "Adapter-H" || name === "Adapter-L");
    const adapters: [PaperMethod, () => Promise<string>][] = [];
    for (const method of [loraOn(QV, 8), ...bottlenecks])
      adapters.push([method, (await lab.train({ method, seed: lab.seeds[0] as number })).adapter]);
    const variants = [...adapters.map(([{ name }]) => name), MERGED, CONTROL];
    const what = { what: "latency", variants, shapes: SHAPES, repetitions: size.repetitions };
    const timed = await lab.measured<Timed[]>(what, [], 60, async () => {
      const open = async (adapter?: () => Promise<string>): Promise<LoadedModel> =>
        loadModel({ model: lab.model, contextLength: 512, ...(adapter && { adapter: await adapter() }) });
      const base = await open();
      const found: Timed[] = [];
      const beside = async (variant: string, adapter?: () => Promise<string>): Promise<void> => {
        const model = await open(adapter);
        try {
          if (variant === MERGED) await model.merge();
          found.push(...(await timeBeside(base, variant, model, size)));
        } finally {
          await model.close();
        }
      };
      try {
        await beside(CONTROL);
        await beside(MERGED, adapters[0]?.[1]);
        for (const [{ name }, adapter] of adapters) await beside(name, adapter);
        return found;
      } finally {
        await base.close();
      }
    });
    const ratio = (variant: string, shape: string): number => {
      const of = timed.find((t) => t.variant === variant && t.shape === shape);
      return median((of?.ms ?? []).map((x, i) => x / (of?.baseMs[i] as number)));
    };
    const one = `${SHAPES.at(-1)?.[0]} × ${SHAPES.at(-1)?.[1]}`;
    const [merged, control] = [ratio(MERGED, one), ratio(CONTROL, one)];
    const bottleneck = ratio("Adapter-H", one);
    const isTold = Math.abs(control - 1) <= NOISE;
    const verdict = (value: number, holds: boolean): Verdict =>
      Number.isNaN(value) || !isTold ? "cannot be told" : holds ? "held" : "did not hold";
    const because = `the base against itself ${control.toFixed(3)}`;
    return {
      claims: [
        {
          text: "Merged LoRA costs nothing at inference.",
          test: "Its median ratio to the base (batch 1) is within 5%; where a second copy of the base differs by more than that, it cannot be told.",
          verdict: verdict(merged, Math.abs(merged - 1) <= NOISE),
          because: `merged ${merged.toFixed(3)}, ${because}`,
        },
        {
          text: "Bottleneck adapters cost noticeable time at batch 1.",
          test: "The median ratio of Adapter-H to the base (batch 1) is above 1.05; where a second copy of the base differs by more than 5%, it cannot be told.",
          verdict: verdict(bottleneck, bottleneck > 1 + NOISE),
          because: `Adapter-H ${bottleneck.toFixed(3)}, ${because}`,
        },
      ],
      tables: [
        {
          name: "latency",
          title: "Milliseconds of a forward pass, and the ratio to the base",
          columns: [
            "variant",
            "batch × length",
            "ms (median)",
            "base, ms (median)",
            "ratio to base (median)",
          ],
          rows: timed.map(({ variant, shape, ms, baseMs }) => [
            variant,
            shape,
            median(ms),
            median(baseMs),
            ratio(variant, shape),
          ]),
        },
      ],
      notes: [
        "Batches and lengths are an eighth of the paper's. “The base again” is a second copy of the base: what it differs by is noise.",
        "Times depend on the machine and on what else runs on it: ratios are taken round by round.",
      ],
    };
  },
};
