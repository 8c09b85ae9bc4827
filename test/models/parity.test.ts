import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { packTrie } from "../../src/data/trie.ts";
import { isTransposed, pathOfHfTensor } from "../../src/formats/names.ts";
import { initialParameters, parameterCount, unflatten } from "../../src/peft/parameters.ts";
import type { AdaptedModel } from "../../src/peft/use/adapted-model.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { type FloatTensor, floats, ints, type Tensor } from "../../src/tensor/tensor.ts";
import { transposed } from "../../src/tensor/transpose.ts";
import { batchFeeds } from "../../src/train/batch.ts";
import { gradientGraph } from "../../src/train/step-graphs.ts";
import {
  everyWeight,
  expectedOf,
  FAMILY_NAMES,
  loadPadded,
  openTiny,
  paddedEdges,
  paddedFeeds,
  peftKey,
  subjectOf,
  type TinyModel,
  tinyLora,
  tinyTheta,
} from "./harness.ts";

// fp32 on both sides, sums in another order. Logits have a standard deviation of 1 to 2; a wrong detail (epsilon, head
// order, rotation, scaling) moves them by 1e-2 and more.
const LOGITS = 1e-4;
// nats per label, of losses of 5 to 7.
const LOSS = 2e-5;
// Largest difference over the largest value of the same tensor.
const GRADIENT = 1e-4;

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    if (!(difference <= worst)) worst = difference; // NaN too
  }
  return worst;
}

function relativeDifference(got: Tensor, want: Tensor): number {
  expect(got.shape).toEqual(want.shape);
  const scale = (want.data as Float32Array).reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  return largestDifference(got.data as Float32Array, want.data as Float32Array) / scale;
}

const difference = (got: Tensor, want: Tensor): number =>
  largestDifference(got.data as Float32Array, want.data as Float32Array);

/** The two sequences of the fixture as examples, padding left out. */
function examplesOf(tiny: TinyModel): Example[] {
  const [ids, labels, mask] = ["input_ids", "labels", "attention_mask"].map(
    (n) => expectedOf(tiny, n).data as Int32Array,
  ) as [Int32Array, Int32Array, Int32Array];
  return [0, 1].map((row) => {
    const length = mask.slice(row * 12, row * 12 + 12).reduce((a, b) => a + b, 0);
    const cut = (x: Int32Array): Int32Array => x.slice(row * 12, row * 12 + length);
    return { ids: cut(ids), isLabel: Uint8Array.from(cut(labels), (l) => (l === -100 ? 0 : 1)), index: row };
  });
}

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

describe.each(FAMILY_NAMES)("%s against transformers and PEFT", (name) => {
  let tiny: TinyModel;
  beforeAll(async () => {
    tiny = await openTiny(name);
  });
  afterAll(() => tiny.close());

  test("hidden states, logits and loss of the base", async () => {
    const session = await loadPadded(runtime, tiny, tiny.model);
    const got = await session.run(paddedFeeds(tiny));
    expect(got.logits?.shape).toEqual(expectedOf(tiny, "logits").shape);
    expect(difference(got.hidden as Tensor, expectedOf(tiny, "hidden"))).toBeLessThan(LOGITS);
    expect(difference(got.logits as Tensor, expectedOf(tiny, "logits"))).toBeLessThan(LOGITS);
    expect(difference(got.loss as Tensor, expectedOf(tiny, "loss"))).toBeLessThan(LOSS);
    await session.close();
  });

  test("logits, loss and factor gradients with an adapter that PEFT made", async () => {
    const method = await tinyLora(tiny);
    expect(method.trainables.length).toBe(tiny.adapter.size);
    const session = await loadPadded(runtime, tiny, { ...tiny.model, methods: [method] });
    const theta = tinyTheta(tiny, method);
    const got = await session.run({ ...paddedFeeds(tiny), theta: floats(theta, [theta.length]) });
    expect(difference(got.logits as Tensor, expectedOf(tiny, "adapter.logits"))).toBeLessThan(LOGITS);
    expect(difference(got.loss as Tensor, expectedOf(tiny, "adapter.loss"))).toBeLessThan(LOSS);
    expectFactorGradients(tiny, method, got.gradient as Tensor);
    await session.close();
  });

  test.each([
    { rows: 1, stem: 0 },
    { rows: 2, stem: 4 },
  ])("the packed trie in $rows rows has the padded batch's loss and gradient", async ({ rows, stem }) => {
    const method = await tinyLora(tiny);
    const batch = packTrie(examplesOf(tiny), { rows, bucket: 4, edgeBucket: 4, stem: true });
    expect(batch.trieTokens, "four tokens shared, last tokens left out").toBe(4 + 7 + 4);
    expect(batch.stem).toBe(stem);
    const model = { ...tiny.model, methods: [method] };
    const got = await runStep(tiny, model, batch, tinyTheta(tiny, method));
    expect(difference(got.loss as Tensor, expectedOf(tiny, "adapter.loss"))).toBeLessThan(LOSS);
    expectFactorGradients(tiny, method, got["gradient.next"] as Tensor);
  });

  test("gradients of the weights themselves", async () => {
    const method = everyWeight(tiny);
    const session = await loadPadded(runtime, tiny, { ...tiny.model, methods: [method] });
    const theta = await initialParameters(method.trainables, 0, (path) => tiny.file.read(path));
    const got = await session.run({ ...paddedFeeds(tiny), theta: floats(theta, [theta.length]) });
    const all = unflatten(got.gradient?.data as Float32Array, method.trainables);
    const wanted = [...tiny.expected.keys()].filter((k) => k.startsWith("grad."));
    if (name === "llama") expect(wanted.length, "every weight").toBe(method.trainables.length);
    for (const key of wanted) {
      const path = pathOfHfTensor(tiny.config.family, key.slice(5)) as string;
      const want = expectedOf(tiny, key);
      const oriented =
        isTransposed(tiny.config.family, path) && want.shape.length === 2
          ? transposed(want as FloatTensor)
          : want;
      expect(relativeDifference(all.get(path) as Tensor, oriented), path).toBeLessThan(GRADIENT);
    }
    await session.close();
  });
});

function expectFactorGradients(
  tiny: TinyModel,
  method: Awaited<ReturnType<typeof tinyLora>>,
  flat: Tensor,
): void {
  for (const [factor, got] of unflatten(flat.data as Float32Array, method.trainables)) {
    const want = expectedOf(tiny, `adapter.grad.${peftKey(method, factor)}`);
    expect(relativeDifference(got, want), factor).toBeLessThan(GRADIENT);
  }
}

/** One micro-step of the trainer's own graph, loss and gradient over the label tokens. */
async function runStep(
  tiny: TinyModel,
  model: AdaptedModel,
  batch: ReturnType<typeof packTrie>,
  theta: Float32Array,
): Promise<Record<string, Tensor>> {
  const session = await runtime.load(gradientGraph(subjectOf(model)), { folder: tiny.file.folder });
  const { rows, length } = batch;
  const size = [theta.length];
  const got = await session.run({
    ...batchFeeds(batch, 1),
    noise: ints(new Int32Array(rows * length), [rows, length, 1]),
    lossScale: floats(Float32Array.of(1 / batch.labelCount), []),
    theta: floats(theta, size),
    gradient: floats(new Float32Array(theta.length), size),
  });
  await session.close();
  return got;
}

test("a sliding window of 5 hides what transformers hides", async () => {
  const tiny = await openTiny("mistral");
  const config = { ...tiny.config, slidingWindow: 5 };
  const session = await loadPadded(runtime, tiny, { ...tiny.model, config });
  const got = await session.run(paddedFeeds(tiny));
  expect(difference(got.logits as Tensor, expectedOf(tiny, "window5.logits"))).toBeLessThan(LOGITS);
  await session.close();
  await tiny.close();
});

test("an attention scale of its own is transformers' query_pre_attn_scalar", async () => {
  const tiny = await openTiny("gemma3");
  const config = { ...tiny.config, attentionScale: 1 / Math.sqrt(3) };
  const session = await loadPadded(runtime, tiny, { ...tiny.model, config });
  const got = await session.run(paddedFeeds(tiny));
  expect(difference(got.logits as Tensor, expectedOf(tiny, "scalar3.logits"))).toBeLessThan(LOGITS);
  await session.close();
  await tiny.close();
});

test("trainable parameters are Σ r(d_in + d_out)", async () => {
  const tiny = await openTiny("llama");
  const method = await tinyLora(tiny);
  // two layers of q 32→32, k and v 32→16, o 32→32, gate and up 32→64, down 64→32, at rank 4
  const perLayer = 4 * (64 + 2 * 48 + 64 + 3 * 96);
  expect(parameterCount(method.trainables)).toBe(2 * perLayer);
  expect(paddedEdges(tiny).nodes.length).toBe(14);
  await tiny.close();
});
