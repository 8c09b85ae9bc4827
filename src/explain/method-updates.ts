import type { LoraFactors } from "../formats/lora-factors.ts";
import type { BaseModel } from "../models/base.ts";
import { type ModuleSpec, moduleWeights } from "../models/family.ts";
import type { OpenedAdapter } from "../peft/files/parts.ts";
import { type MergedWeights, mergedWeights } from "../peft/merge/weights.ts";
import type { Merging, Method } from "../peft/method.ts";
import type { ModelShape } from "../peft/model-shape.ts";
import { flatten, trainedCount, unflatten } from "../peft/parameters.ts";
import { openRuntime } from "../runtime/runtime.ts";
import { type Matrix, matrix } from "../tensor/linear-algebra.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { transposed } from "../tensor/transpose.ts";
import { factorUpdate } from "./factor-update.ts";
import { vectorNote } from "./file-updates.ts";
import { moduleWeight } from "./module-weight.ts";
import type { AdapterUpdates, ModuleUpdate, WithoutUpdate } from "./update.ts";

type Updates = Pick<AdapterUpdates, "methods" | "modules" | "withoutUpdate" | "notes" | "close">;

/** The updates of an adapter that is fitted to its base. `base`: null without its weights, which leaves out what is no product. */
export function methodUpdates(opened: OpenedAdapter, shape: ModelShape, base: BaseModel | null): Updates {
  const { methods, theta } = opened;
  const values = unflatten(
    theta,
    methods.flatMap((m) => m.trainables),
  );
  const products = productsOf(methods, values);
  const mergeable = methods.filter((m) => typeof m.merging !== "string");
  const changed = new Set(mergeable.flatMap((m) => changedPaths(m.merging as Merging, shape)));
  const matrices = shape.modules.filter((m) => m.kind !== "norm" && changed.has(`${m.path}.weight`));
  const fresh = matrices.filter((m) => base?.newWeights.includes(`${m.path}.weight`));
  const dense = matrices.filter((m) => !fresh.includes(m));
  const left = dense.filter((m) => !products.has(m.path)).length;
  const runtime = base === null || left === 0 ? null : openRuntime();
  const merged = base && runtime && mergedOf(mergeable, values, base, runtime);
  const modules = shape.modules.flatMap((m): ModuleUpdate[] => {
    const own = products.get(m.path);
    if (own) return [factorUpdate(own)];
    return merged && base && dense.includes(m) ? [mergedUpdate(m as MatrixSpec, base, merged)] : [];
  });
  const paths = new Set(matrices.map((m) => `${m.path}.weight`));
  return {
    methods: methods.map((m) => m.name),
    modules,
    withoutUpdate: withoutUpdate(methods, values),
    notes: leftOut(merged ? 0 : left, fresh.length, [...changed].filter((path) => !paths.has(path)).length),
    close: async () => {
      await merged?.close();
      await runtime?.close();
    },
  };
}

/** What is not among the modules, by number. */
function leftOut(unseen: number, fresh: number, vectors: number): string[] {
  return [
    ...(unseen > 0
      ? [`weights whose change is seen beside the base only are left out, ${unseen} of them`]
      : []),
    ...(fresh > 0
      ? [`weights of a new head are left out, ${fresh} of them: the base has none to compare them with`]
      : []),
    ...vectorNote(vectors),
  ];
}

/** Updates that are products, by path; not of a weight that another method changes as well. */
function productsOf(
  methods: readonly Method[],
  values: ReadonlyMap<string, FloatTensor>,
): ReadonlyMap<string, LoraFactors> {
  const trained = (name: string): FloatTensor => values.get(name) as FloatTensor;
  const products = methods.map((m) => m.factors(trained) ?? []);
  const changedBy = (path: string, by: number): boolean =>
    methods.some((m, i) => i !== by && typeof m.merging !== "string" && m.merging.paths.includes(path));
  return new Map(
    products.flatMap((own, i) =>
      own.filter((f) => !changedBy(`${f.path}.weight`, i)).map((f): [string, LoraFactors] => [f.path, f]),
    ),
  );
}

function changedPaths({ paths, optional = [] }: Merging, { modules }: ModelShape): string[] {
  const there = new Set(modules.flatMap(moduleWeights).map((w) => w.path));
  return [...paths, ...optional.filter((path) => there.has(path))];
}

function mergedOf(
  methods: readonly Method[],
  values: ReadonlyMap<string, FloatTensor>,
  base: BaseModel,
  runtime: ReturnType<typeof openRuntime>,
): MergedWeights {
  const theta = flatten(
    values,
    methods.flatMap((m) => m.trainables),
  );
  return mergedWeights(methods, theta, base, base.weights, runtime);
}

type MatrixSpec = Exclude<ModuleSpec, { kind: "norm" }>;

function mergedUpdate(m: MatrixSpec, base: BaseModel, merged: MergedWeights): ModuleUpdate {
  const [outSize, inSize] = m.kind === "linear" ? [m.outSize, m.inSize] : [m.size, m.count];
  const delta = async (): Promise<Matrix> => {
    const now = await merged.read(`${m.path}.weight`);
    const { data } = m.kind === "linear" ? now : transposed(now);
    const before = await moduleWeight(base, m.path);
    return matrix(
      outSize,
      inSize,
      Float64Array.from(data, (x, i) => x - (before.data[i] as number)),
    );
  };
  return { path: m.path, kind: m.kind, shape: [outSize, inSize], factors: null, delta };
}

function withoutUpdate(
  methods: readonly Method[],
  values: ReadonlyMap<string, FloatTensor>,
): WithoutUpdate[] {
  return methods.flatMap((m) => {
    if (typeof m.merging !== "string" || m.factors((name) => values.get(name) as FloatTensor) !== null)
      return [];
    return [{ method: m.name, reason: m.merging, parameters: trainedCount(m.trainables) }];
  });
}
