import { readdirSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ModelConfig } from "../../src/formats/model.ts";
import { readPeftConfig } from "../../src/formats/peft/config.ts";
import { openSafetensors } from "../../src/formats/safetensors/read.ts";
import { gradients } from "../../src/graph/gradients.ts";
import { crossEntropy, foldRows, gather, mul } from "../../src/graph/ops/index.ts";
import { input, scalarConstant, type Value } from "../../src/graph/value.ts";
import { batchAttention } from "../../src/models/base-context.ts";
import { openBase } from "../../src/models/base-model.ts";
import { moduleWeights } from "../../src/models/family.ts";
import type { WeightFile } from "../../src/models/weight-layout.ts";
import { languageModelling } from "../../src/objectives/language-modelling.ts";
import type { Objective } from "../../src/objectives/objective.ts";
import { defineMethod, type Method } from "../../src/peft/method.ts";
import { type Lora, lora } from "../../src/peft/methods/lora.ts";
import { flatten, parameterCount, viewsOf } from "../../src/peft/parameters.ts";
import { type AdaptedModel, adaptedContext, trainablesOf } from "../../src/peft/use/adapted-model.ts";
import type { Runtime, Session } from "../../src/runtime/runtime.ts";
import { type FloatTensor, floats, ints, type Tensor } from "../../src/tensor/tensor.ts";
import type { StepSubject } from "../../src/train/step-graphs.ts";

/** What a step's graphs are built from: of a decoder, unless an objective says otherwise. */
export function subjectOf(
  model: AdaptedModel,
  chunks = 1,
  objective: Objective = languageModelling,
): StepSubject {
  return { model, chunks, objective };
}

const FIXTURES = fileURLToPath(new URL("../fixtures/models/", import.meta.url));

/** Every fixture: one of each family and kind. */
export const FAMILY_NAMES: readonly string[] = readdirSync(FIXTURES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

/** A tiny model of test/fixtures/models, opened, with what PyTorch computed on it. */
export interface TinyModel {
  readonly name: string;
  readonly config: ModelConfig;
  readonly file: WeightFile;
  readonly model: AdaptedModel;
  /** Tensors of expected.safetensors; integers as int32. */
  readonly expected: ReadonlyMap<string, Tensor>;
  readonly adapter: ReadonlyMap<string, FloatTensor>;
  /** Removes the converted weights. */
  close(): Promise<void>;
}

/** A fixture by name; its weights are converted below a new temporary folder. */
export async function openTiny(name: string): Promise<TinyModel> {
  const folder = join(FIXTURES, name);
  const cacheFolder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  const { config, family, modules, frozen, weights } = await openBase(folder, { offline: true, cacheFolder });
  return {
    name,
    config,
    file: weights,
    model: { config, family, modules, frozen, methods: [], positionCount: 16, rowTokens: 64 },
    expected: await readTensors(join(folder, "expected.safetensors")),
    adapter: (await readTensors(join(folder, "adapter", "adapter_model.safetensors"))) as Map<
      string,
      FloatTensor
    >,
    close: () => rm(cacheFolder, { recursive: true }),
  };
}

/** Tensors of a safetensors file; integers as int32. */
export async function readTensors(from: string | URL): Promise<Map<string, Tensor>> {
  const file = await openSafetensors(from instanceof URL ? fileURLToPath(from) : from);
  try {
    const tensors = new Map<string, Tensor>();
    for (const [name, { dtype, shape }] of file.entries)
      tensors.set(
        name,
        dtype === "I32"
          ? ints(new Int32Array((await file.readBytes(name)).buffer as ArrayBuffer), shape)
          : await file.read(name),
      );
    return tensors;
  } finally {
    await file.close();
  }
}

/** One of the expected tensors. */
export function expectedOf(tiny: TinyModel, name: string): Tensor {
  const tensor = tiny.expected.get(name);
  if (!tensor) throw new Error(`${tiny.name}: no expected ${name}`);
  return tensor;
}

/** LoRA as the fixture's adapter_config.json says. */
export async function tinyLora(tiny: TinyModel): Promise<Lora> {
  const path = join(FIXTURES, tiny.name, "adapter", "adapter_config.json");
  const { config } = readPeftConfig(JSON.parse(await readFile(path, "utf8")), basename(path));
  return lora(config, tiny.config.family, tiny.model.modules);
}

/** Tensor of a PEFT file that holds a LoRA factor: `layers.0.attention.q.loraA` → `base_model.model.….lora_A.weight`. */
export function peftKey(method: Lora, trainable: string): string {
  const [, path, factor] = /^(.*)\.lora([AB])$/.exec(trainable) as unknown as [string, string, string];
  const name = method.plan.modules.find((m) => m.path === path)?.name;
  return `base_model.model.${name}.lora_${factor}.weight`;
}

/** The adapter's factors as the flat vector θ. */
export function tinyTheta(tiny: TinyModel, method: Lora): Float32Array {
  const tensors = method.trainables.map(
    (t) => [t.name, tiny.adapter.get(peftKey(method, t.name)) as FloatTensor] as const,
  );
  return flatten(new Map(tensors), method.trainables);
}

/** Every weight of the model trained: full fine-tuning. */
export function everyWeight(tiny: TinyModel): Method {
  const specs = tiny.model.modules.flatMap(moduleWeights);
  const paths = new Set(specs.map((s) => s.path));
  return defineMethod({
    name: "full",
    trainables: specs.map(({ path, shape }) => ({
      name: path,
      shape,
      init: async () => (await tiny.file.read(path)).data,
    })),
    replace: (path, inputs) => (paths.has(path) ? inputs.trainable(path) : null),
    structure: "full",
    merging: "not needed here",
    files: { config: () => ({}), write: () => new Map(), read: () => new Map() },
  });
}

/** Graph over the padded batch, every row a chain: outputs hidden, logits, loss and, with methods, gradient [|Θ|]. */
export async function loadPadded(runtime: Runtime, tiny: TinyModel, model: AdaptedModel): Promise<Session> {
  const ids = input("tokens", "int32", [2, 12]);
  const positions = input("positions", "int32", [2, 12]);
  const columns = input("columns", "int32", [12]);
  const ends = input("ends", "int32", [2, 12]);
  const trainables = trainablesOf(model.methods);
  const theta = input("theta", "float32", [parameterCount(trainables)]);
  const views = trainables.length > 0 ? viewsOf(theta, trainables) : new Map<string, Value>();
  const inputs = { trainable: (name: string) => views.get(name) as Value, noise: null, ids };
  const ctx = adaptedContext(model, inputs, batchAttention(model.config, { columns, ends, positions }));
  const hidden = model.family.forward(model.config, ctx, { ids, positions }, model.positionCount);
  const edges = paddedEdges(tiny);
  const nodes = input("edgeNodes", "int32", [edges.nodes.length]);
  const labels = input("edgeLabels", "int32", [edges.nodes.length]);
  const weights = input("edgeWeights", "float32", [edges.nodes.length]);
  const atEdges = ctx.linear("head", gather(foldRows(hidden), nodes));
  const loss = mul(crossEntropy(atEdges, labels, weights), scalarConstant(1 / edges.nodes.length));
  const outputs: Record<string, Value> = { hidden, logits: ctx.linear("head", hidden), loss };
  const [gradient] = trainables.length > 0 ? gradients(loss, [theta]) : [];
  if (gradient) outputs.gradient = gradient;
  return runtime.load(outputs, { folder: tiny.file.folder });
}

/** Nodes and labels of the padded batch that count. */
export function paddedEdges(tiny: TinyModel): { nodes: number[]; labels: number[] } {
  const labels = expectedOf(tiny, "labels").data as Int32Array;
  const nodes = Array.from(labels.keys()).filter((i) => i % 12 < 11 && labels[i + 1] !== -100);
  return { nodes, labels: nodes.map((i) => labels[i + 1] as number) };
}

/** Feeds of `loadPadded`. */
export function paddedFeeds(tiny: TinyModel): Record<string, Tensor> {
  const edges = paddedEdges(tiny);
  const count = edges.nodes.length;
  return {
    tokens: expectedOf(tiny, "input_ids"),
    positions: ints(
      Int32Array.from({ length: 24 }, (_, i) => i % 12),
      [2, 12],
    ),
    columns: ints(
      Int32Array.from({ length: 12 }, (_, i) => i),
      [12],
    ),
    ends: ints(new Int32Array(24).fill(12), [2, 12]),
    edgeNodes: ints(Int32Array.from(edges.nodes), [count]),
    edgeLabels: ints(Int32Array.from(edges.labels), [count]),
    edgeWeights: floats(new Float32Array(count).fill(1), [count]),
  };
}
