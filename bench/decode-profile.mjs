/** Where the time of generation goes, by the engine's own profiler: milliseconds by operator of a prompt of about 400 tokens, and of one
 *  token after it. The profiler itself costs time.
 *    node bench/decode-profile.mjs [--bits 4,8] [--tokens 32] [--model smollm2-135m] */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createDecoder } from "../dist/generate/decoder.js";
import { openRuntime } from "../dist/runtime/runtime.js";
import { readProfile } from "../dist/train/profile/read.js";
import { LONG_PROMPT } from "./lib/decoding.mjs";
import { openBase } from "./lib/lowrank.mjs";
import { describeMachine, machineLine } from "./lib/machine.mjs";
import { MODEL } from "./lib/model.mjs";
import { withWorkFolder } from "./lib/peers.mjs";

const text = { type: "string" };
const { values } = parseArgs({
  options: {
    bits: { ...text, default: "4,8" },
    tokens: { ...text, default: "32" },
    model: { ...text, default: MODEL },
  },
});
/** Runs that fill caches and memory pools first. */
const WARM_UP = 2;
const POSITIONS = 1024;

/** Profiles what `use` runs with a decoder, without its first `skip` runs. */
async function profiled(base, work, name, skip, use) {
  const runtime = openRuntime();
  const { config, family, modules, decoding } = base;
  const model = { config, family, modules, frozen: decoding, methods: [], positionCount: POSITIONS };
  const decoder = await createDecoder(runtime, model, base.weights.folder, { profile: join(work, name) });
  await use(decoder);
  await decoder.close();
  await runtime.close();
  const file = (await readdir(work)).find((entry) => entry.startsWith(`${name}_`));
  return readProfile(join(work, file), skip);
}

function print(title, { passes, passMs, byOperator }) {
  process.stdout.write(`${title}: ${passMs.toFixed(2)} ms, mean of ${passes}\n`);
  for (const { name, forwardMs, calls } of byOperator.filter((o) => o.forwardMs > passMs / 200))
    process.stdout.write(
      `  ${name.padEnd(32)} ${forwardMs.toFixed(2).padStart(8)} ms  ${calls.toFixed(0)} nodes\n`,
    );
}

await withWorkFolder(undefined, async (work) => {
  process.stdout.write(`${machineLine(await describeMachine(null))}\n`);
  for (const bits of values.bits.split(",").map(Number)) {
    const base = await openBase(values.model, { offline: true, baseBits: bits });
    const prompt = base.tokenizer.encode(LONG_PROMPT);
    const prompts = await profiled(base, work, `prompt-${bits}`, WARM_UP, async (decoder) => {
      for (let i = 0; i < WARM_UP + 3; i++) await decoder.start([prompt]);
    });
    print(`${bits} bits, prompt of ${prompt.length} tokens`, prompts);
    const tokens = await profiled(base, work, `token-${bits}`, 1 + WARM_UP, async (decoder) => {
      await decoder.start([prompt]);
      for (let i = 0; i < WARM_UP + Number(values.tokens); i++) await decoder.next([prompt[i]]);
    });
    print(`${bits} bits, one token after them`, tokens);
  }
});
