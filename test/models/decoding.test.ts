import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { continueAll } from "../../src/generate/continuation.ts";
import { createDecoder } from "../../src/generate/decoder.ts";
import type { AdaptedModel } from "../../src/peft/use/adapted-model.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { expectedOf, FAMILY_NAMES, openTiny, type TinyModel, tinyLora, tinyTheta } from "./harness.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

/** What transformers' greedy search makes of the first four ids: 16 ids in all. */
function greedyIds(tiny: TinyModel, key: string): number[] {
  return Array.from((expectedOf(tiny, key).data as Int32Array).slice(0, 16));
}

/** Continues the sequence from three places at once: the shorter prompts are padded on the left. */
async function expectContinuations(
  tiny: TinyModel,
  model: AdaptedModel,
  ids: readonly number[],
): Promise<void> {
  const decoder = await createDecoder(runtime, model, tiny.file.folder);
  const lengths = [9, 4, 7];
  const got = await continueAll(
    decoder,
    lengths.map((n) => ids.slice(0, n)),
    { eosIds: [], maxTokens: 7 },
  );
  expect(got).toEqual(lengths.map((n) => ids.slice(n, n + 7)));
  const again = await continueAll(decoder, [ids.slice(0, 4)], { eosIds: [], maxTokens: 12 });
  expect(again, "a new start forgets what was held").toEqual([ids.slice(4)]);
  const bounded = await continueAll(decoder, [ids.slice(0, 9), ids.slice(0, 4)], {
    ...{ eosIds: [], maxTokens: 7, room: 10, rows: 1 },
  });
  expect(bounded, "a long prompt takes no room from others").toEqual([ids.slice(9, 10), ids.slice(4, 10)]);
  await decoder.close();
}

describe.each(FAMILY_NAMES)("%s decodes with a cache what transformers does without", (name) => {
  let tiny: TinyModel;
  beforeAll(async () => {
    tiny = await openTiny(name);
  });
  afterAll(() => tiny.close());

  test("the base", async () => {
    await expectContinuations(tiny, tiny.model, greedyIds(tiny, "greedy"));
  });

  test("with an adapter", async () => {
    const method = await tinyLora(tiny);
    const theta = tinyTheta(tiny, method);
    await runtime.put({ theta: floats(theta, [theta.length]) });
    const model = { ...tiny.model, methods: [method] };
    await expectContinuations(tiny, model, greedyIds(tiny, "adapter.greedy"));
  });
});
