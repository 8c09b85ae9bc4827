import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packSequences } from "../../src/data/sequence-batch.ts";
import { hfModuleName } from "../../src/formats/names.ts";
import type { BaseModel } from "../../src/models/base.ts";
import type { OpenedAdapter } from "../../src/peft/files/parts.ts";
import { unflatten } from "../../src/peft/parameters.ts";
import { adaptBase } from "../../src/peft/use/adapted-base.ts";
import { trainablesOf } from "../../src/peft/use/adapted-model.ts";
import { openRuntime, type Runtime } from "../../src/runtime/runtime.ts";
import { type FloatTensor, floats, scalar } from "../../src/tensor/tensor.ts";
import { batchFeeds } from "../../src/train/batch.ts";
import { createTrainEngine } from "../../src/train/step.ts";
import { evaluationGraph, gradientGraph } from "../../src/train/step-graphs.ts";
import { taskOf } from "../../src/train/tasks/table.ts";
import { encoderFolder, examplesOf, openEncoder, type TinyEncoder } from "./encoders.ts";
import { subjectOf } from "./harness.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

// float32 rounding; logits up to 3, losses up to 2. The issue asks for 1e-4.
const LOGITS = 1e-5;
const LOSS = 1e-5;
/** Relative to the largest element of each gradient. */
const GRADIENT = 1e-4;

/** With the adapter's own factors, not folded as those in use are. */
interface Adapted {
  readonly base: BaseModel;
  readonly adapter: OpenedAdapter | null;
}

function worst(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] as number))), 0);
}

describe.each(["bert", "roberta", "score"])(
  "%s computes what transformers and PEFT do on the padded batch",
  (name) => {
    let tiny: TinyEncoder;
    let adapted: Adapted;
    beforeAll(async () => {
      tiny = await openEncoder(name);
      const adapter = `${encoderFolder(name)}/adapter`;
      const { base, opened } = await adaptBase(tiny.base, { adapter }, { offline: true });
      adapted = { base, adapter: opened.get("default") ?? null };
    });
    afterAll(() => tiny.close());

    const modelOf = ({ base, adapter }: Adapted) => {
      const { config, family, modules, frozen } = base;
      return {
        config,
        family,
        modules,
        frozen,
        methods: adapter?.methods ?? [],
        positionCount: 40,
        rowTokens: 64,
      };
    };

    test.each([
      ["the base", "", 1],
      ["the base, all in one row", "", 2],
      ["with an adapter", "adapter.", 1],
    ])("%s", async (_, prefix, rows) => {
      const { base } = tiny;
      const subject = prefix === "" ? { base, adapter: null } : adapted;
      const model = modelOf(subject);
      if (subject.adapter)
        await runtime.put({ theta: floats(subject.adapter.theta, [subject.adapter.theta.length]) });
      const examples = examplesOf(tiny);
      const batch = packSequences(examples, { bucket: 4, edgeBucket: 8, ...(rows === 2 ? { rows: 1 } : {}) });
      const task = taskOf(base);
      const folder = base.weights.folder;
      const session = await runtime.load(evaluationGraph(subjectOf(model, 1, task.objective)), { folder });
      const out = await session.run(batchFeeds(batch, 1));
      await session.close();
      const loss = Number(out.loss?.data[0]) / examples.length;
      expect(Math.abs(loss - Number(tiny.expected(`${prefix}loss`).data[0]))).toBeLessThan(LOSS);
      const expected = tiny.expected(`${prefix}logits`);
      const size = expected.shape[1] as number;
      // Edges are in the order of packing: the longest example first, of equals the first.
      const order = examples.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a));
      function lengthOf(i: number): number {
        return examples[i]?.ids.length as number;
      }
      if (batch.rows === 1) {
        const logits = out["logits.0"]?.data as Float32Array;
        order.forEach((example, e) => {
          const want = (expected.data as Float32Array).slice(example * size, (example + 1) * size);
          expect(worst(logits.slice(e * size, (e + 1) * size), want)).toBeLessThan(LOGITS);
        });
      }
    });

    test("gradients of factors and head", async () => {
      const { adapter, base } = adapted;
      if (!adapter) throw new Error("no adapter");
      const model = modelOf(adapted);
      const task = taskOf(base);
      const graph = gradientGraph(subjectOf(model, 1, task.objective));
      const session = await runtime.load(graph, { folder: base.weights.folder });
      const batch = packSequences(examplesOf(tiny), { bucket: 8, edgeBucket: 8 });
      const size = adapter.theta.length;
      const out = await session.run({
        ...batchFeeds(batch, 1),
        theta: floats(adapter.theta, [size]),
        gradient: floats(new Float32Array(size), [size]),
        lossScale: scalar(1 / 5),
      });
      await session.close();
      const got = unflatten(out["gradient.next"]?.data as Float32Array, trainablesOf(model.methods));
      expect(got.size).toBe(8 + (name === "bert" ? 2 : 4));
      for (const [path, gradient] of got) {
        const dot = path.lastIndexOf(".");
        const suffix = path.slice(dot + 1).replace(/^lora([AB])$/, "lora_$1.weight");
        const key = `adapter.grad.base_model.model.${hfModuleName(base.config.family, path.slice(0, dot))}.${suffix}`;
        const want = tiny.expected(key) as FloatTensor;
        const largest = want.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        expect(worst(gradient.data, want.data) / largest, key).toBeLessThan(GRADIENT);
      }
    });

    test("six AdamW steps", async () => {
      const { adapter, base } = adapted;
      if (!adapter) throw new Error("no adapter");
      const options = {
        optimizer: "adamw",
        momentum: 0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0,
        clipNorm: null,
        labelSmoothing: 0,
        seed: 0,
      };
      const task = taskOf(base);
      const engine = await createTrainEngine(
        runtime,
        subjectOf(modelOf(adapted), 1, task.objective),
        base.weights.folder,
        options,
      );
      const { theta } = adapter;
      await engine.setState({ theta, m: new Float32Array(theta.length), v: new Float32Array(theta.length) });
      const batch = examplesOf(tiny);
      const losses: number[] = [];
      for (let step = 1; step <= 6; step++) losses.push((await engine.update([batch], step, 1e-2)).loss);
      await engine.close();
      // Adam divides by the gradient's size, so rounding of the smallest gradients shows after a few steps.
      expect(worst(losses, tiny.expected("steps").data as Float32Array)).toBeLessThan(1e-4);
    });
  },
);
