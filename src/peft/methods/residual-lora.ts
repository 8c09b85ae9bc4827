import { InputError } from "../../errors.ts";
import type { LoraConfig } from "../../formats/peft/config.ts";
import { linear, sub } from "../../graph/ops/index.ts";
import type { ForwardContext } from "../../models/context.ts";
import type { SettingsOf } from "../../options/setting.ts";
import { type Matrix, matrix } from "../../tensor/linear-algebra.ts";
import { type FloatTensor, floats } from "../../tensor/tensor.ts";
import { defineMethod, type Merging, type Method, type MethodInputs, type Trainable } from "../method.ts";
import type { TrainingUse } from "../method-kind.ts";
import type { ModelShape } from "../model-shape.ts";
import { type Lora, lora } from "./lora.ts";
import { type LoraOptions, loraConfig, loraSettings } from "./lora-options.ts";
import type { LoraModule } from "./lora-plan.ts";

/** Factors of a part of a weight: scaling · b · a. */
export interface Factors {
  /** [rank, in] */
  readonly a: Matrix;
  /** [out, rank] */
  readonly b: Matrix;
}

/** Options of LoRA whose first factors the weights decide. */
type ResidualOptions = Omit<LoraOptions, "init" | "loraBias">;

const { init: _, loraBias: __, ...others } = loraSettings;
export const residualSettings: SettingsOf<ResidualOptions> = others;

/** LoRA's configuration of them. */
export function residualConfig(options: ResidualOptions, shape: ModelShape, use: TrainingUse): LoraConfig {
  return loraConfig({ ...options, init: "gaussian", loraBias: false }, shape, use);
}

/** How a relative of LoRA chooses its first factors: from the weight W [out, in] of a module. */
export type Factorize = (weight: Matrix, m: LoraModule) => Factors;

/** LoRA whose factors start as a part of the weight, which the base gives up: h = W·x + s·(B·A − B₀·A₀)·x with B₀ and A₀ the
 *  factors at the start. The frozen base stays as it is, and the files are plain LoRA of twice the rank, as PEFT's
 *  `path_initial_model_for_weight_conversion` makes them.
 *  @throws InputError for embeddings, and ranks that a weight does not have */
export function residualLora(
  name: string,
  config: LoraConfig,
  { config: { family }, modules }: ModelShape,
  factorize: Factorize,
): Method {
  const start = lora(config, family, modules);
  checkModules(name, start.plan.modules);
  const saved = lora(twice(config), family, modules);
  const trainables = withStarts(start, factorize);
  const merging = saved.merging as Merging;
  return defineMethod({
    name,
    trainables,
    replace: start.replace,
    wrap: (ctx, inputs) => start.wrap(residualContext(start, ctx, inputs), inputs),
    merging: {
      paths: merging.paths,
      read: (path, from) => merging.read(path, { ...from, trained: (n) => doubled(n, start, from.trained) }),
    },
    factors: (trained) => saved.factors((n) => doubled(n, start, trained)),
    files: {
      config: saved.files.config,
      write: (values) => {
        const trained = (n: string): FloatTensor => values.get(n) as FloatTensor;
        const names = saved.trainables.map((t) => t.name);
        return saved.files.write(new Map(names.map((n) => [n, doubled(n, start, trained)])));
      },
      read: (tensors, where) => halves(saved.files.read(tensors, where), start),
    },
    structure: JSON.stringify([name, start.plan]),
  });
}

function checkModules(name: string, modules: readonly LoraModule[]): void {
  const problems = modules.flatMap((m) => {
    const largest = Math.min(m.inSize, m.outSize);
    if (m.kind === "embedding") return [{ where: m.name, message: "is an embedding: only linear layers" }];
    if (m.rank <= largest) return [];
    return [{ where: m.name, message: `expected a rank of at most ${largest}, got ${m.rank}` }];
  });
  if (problems.length > 0) throw new InputError(`${name} does not fit this model`, problems);
}

/** The same update and the negated start side by side: twice the rank at the same scaling. */
function twice(config: LoraConfig): LoraConfig {
  const factor = config.rsLora ? Math.SQRT2 : 2;
  const times = (pattern: Readonly<Record<string, number>>, by: number): Record<string, number> =>
    Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, value * by]));
  return {
    ...config,
    rank: 2 * config.rank,
    alpha: factor * config.alpha,
    rankPattern: times(config.rankPattern, 2),
    alphaPattern: times(config.alphaPattern, factor),
  };
}

/** Name of the value that a factor starts with. */
function startOf(name: string): string {
  return `${name}.start`;
}

function factorNames(m: LoraModule): readonly [string, string] {
  return [`${m.path}.loraA`, `${m.path}.loraB`];
}

function withStarts({ trainables, plan }: Lora, factorize: Factorize): Trainable[] {
  const own = plan.modules.flatMap((m) => moduleTrainables(m, factorize));
  const names = new Set(own.map((t) => t.name));
  return [...own, ...trainables.filter((t) => !names.has(t.name))];
}

/** Both factors and their starts; the weight is decomposed once for the four. */
function moduleTrainables(m: LoraModule, factorize: Factorize): Trainable[] {
  let factors: Promise<Factors> | null = null;
  let asked = 0;
  const init =
    (side: keyof Factors): Trainable["init"] =>
    async (_g, base) => {
      factors ??= base(m.weight).then(({ data }) => factorize(matrix(m.outSize, m.inSize, data), m));
      const { data } = (await factors)[side];
      asked += 1;
      if (asked % 4 === 0) factors = null;
      return Float32Array.from(data);
    };
  const [a, b] = factorNames(m);
  const pair: Trainable[] = [
    { name: a, shape: [m.rank, m.inSize], init: init("a") },
    { name: b, shape: [m.outSize, m.rank], init: init("b") },
  ];
  return [...pair, ...pair.map((t) => ({ ...t, name: startOf(t.name), fixed: true }))];
}

/** The base without the part that the factors start as. */
function residualContext({ plan }: Lora, ctx: ForwardContext, inputs: MethodInputs): ForwardContext {
  const adapted = new Map(plan.modules.map((m) => [m.path, m]));
  return {
    ...ctx,
    joined: () => null,
    linear: (path, x) => {
      const m = adapted.get(path);
      if (!m) return ctx.linear(path, x);
      const [a, b] = factorNames(m);
      const down = linear(x, inputs.trainable(startOf(a)));
      return sub(ctx.linear(path, x), linear(down, inputs.trainable(startOf(b)), m.scaling));
    },
  };
}

/** [A; A₀] or [B, −B₀]; other values as they are. */
function doubled(name: string, { plan }: Lora, trained: (name: string) => FloatTensor): FloatTensor {
  const m = plan.modules.find((x) => factorNames(x).includes(name));
  if (!m) return trained(name);
  const [now, first] = [trained(name).data, trained(startOf(name)).data];
  if (name === factorNames(m)[0]) return floats(joined(now, first), [2 * m.rank, m.inSize]);
  const data = new Float32Array(2 * now.length);
  for (let i = 0; i < m.outSize; i++)
    for (let j = 0; j < m.rank; j++) {
      data[i * 2 * m.rank + j] = now[i * m.rank + j] as number;
      data[(i * 2 + 1) * m.rank + j] = -(first[i * m.rank + j] as number);
    }
  return floats(data, [m.outSize, 2 * m.rank]);
}

function joined(x: Float32Array, y: Float32Array): Float32Array {
  const data = new Float32Array(x.length + y.length);
  data.set(x);
  data.set(y, x.length);
  return data;
}

/** The inverse of `doubled` for every value. */
function halves(values: ReadonlyMap<string, FloatTensor>, { plan }: Lora): Map<string, FloatTensor> {
  const result = new Map(values);
  for (const m of plan.modules) {
    const [aName, bName] = factorNames(m);
    const [a, b] = [values.get(aName), values.get(bName)] as [FloatTensor, FloatTensor];
    const size = m.rank * m.inSize;
    result.set(aName, floats(a.data.slice(0, size), [m.rank, m.inSize]));
    result.set(startOf(aName), floats(a.data.slice(size), [m.rank, m.inSize]));
    const side = (offset: number, sign: number): FloatTensor =>
      floats(
        Float32Array.from({ length: m.outSize * m.rank }, (_, i) => {
          const row = Math.floor(i / m.rank);
          return sign * (b.data[(row * 2 + offset) * m.rank + (i % m.rank)] as number);
        }),
        [m.outSize, m.rank],
      );
    result.set(bName, side(0, 1));
    result.set(startOf(bName), side(1, -1));
  }
  return result;
}
