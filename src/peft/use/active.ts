import { InputError, type Problem } from "../../errors.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { OpenedAdapter } from "../files/parts.ts";
import type { Method } from "../method.ts";
import { isPlainLora, type Lora } from "../methods/lora.ts";
import type { ModelShape } from "../model-shape.ts";
import { flatten, unflatten } from "../parameters.ts";
import { type LoraTerm, summedLora, summedValues } from "./lora-sum.ts";

/** Names of adapters in use, and the factor of each; empty for the base alone. */
export type Factors = ReadonlyMap<string, number>;

/** Methods with their parameters, as graphs and merging take them. */
export interface Adaptation {
  readonly methods: readonly Method[];
  /** In the order of the methods' trainables. */
  readonly theta: Float32Array;
}

/** What decides the graph of an adaptation: those that agree in it share one. */
export function structureOf({ methods }: Adaptation): string {
  return JSON.stringify(methods.map((method) => method.structure));
}

/** Makes one adaptation of the adapters in use. */
export interface Composer {
  /** @throws InputError listing everything that cannot act together */
  compose(adapters: ReadonlyMap<string, OpenedAdapter>, factors: Factors): Adaptation | null;
}

/** One method of one adapter in use. */
interface Part {
  readonly name: string;
  readonly method: Method;
  readonly values: ReadonlyMap<string, FloatTensor>;
  readonly factor: number;
}

/** Compositions kept, with their methods: parameters and factors change often, structures seldom. */
const KEPT_STRUCTURES = 32;

/** A composer for one model. LoRA adapters act as one LoRA of their summed ranks (see `summedLora`), others in a row, as in a
 *  combination. Adapters of the same structures, whatever their parameters, factors and alphas, make the same structure. */
export function createComposer(shape: ModelShape): Composer {
  const made = new Map<string, readonly Method[]>();
  const methodsOf = (parts: readonly Part[]): readonly Method[] => {
    const key = JSON.stringify(parts.map((p) => p.method.structure));
    const methods = made.get(key) ?? composedMethods(parts, shape);
    made.delete(key);
    made.set(key, methods);
    for (const old of [...made.keys()].slice(0, -KEPT_STRUCTURES)) made.delete(old);
    return methods;
  };
  return {
    compose: (adapters, factors) => {
      const parts = partsOf(adapters, factors);
      if (parts.length === 0) return null;
      checkTogether(parts);
      const methods = methodsOf(parts);
      const values = new Map(parts.flatMap((p) => [...p.values]));
      const sum = methods.find(isPlainLora);
      if (sum) for (const [name, value] of summedValues(sum, loraTerms(parts))) values.set(name, value);
      const theta = flatten(
        values,
        methods.flatMap((m) => m.trainables),
      );
      return { methods, theta };
    },
  };
}

function partsOf(adapters: ReadonlyMap<string, OpenedAdapter>, factors: Factors): Part[] {
  return [...factors].flatMap(([name, factor]) => {
    const { methods, theta } = adapters.get(name) as OpenedAdapter;
    const all = unflatten(
      theta,
      methods.flatMap((m) => m.trainables),
    );
    return methods.map((method) => {
      const own = method.trainables.map((t) => [t.name, all.get(t.name) as FloatTensor] as const);
      return { name, method, values: new Map(own), factor };
    });
  });
}

function loraTerms(parts: readonly Part[]): (LoraTerm & { readonly lora: Lora })[] {
  return parts.flatMap(({ method, values, factor }) =>
    isPlainLora(method) ? [{ lora: method, values, factor }] : [],
  );
}

/** The sum of all LoRAs where the first one stands, and the others as they are. */
function composedMethods(parts: readonly Part[], shape: ModelShape): readonly Method[] {
  const loras = parts.map((p) => p.method).filter(isPlainLora);
  return parts.flatMap(({ method }) => {
    if (!isPlainLora(method)) return [method];
    return method === loras[0] ? [summedLora(loras, shape)] : [];
  });
}

/** Values that add up over adapters: LoRA's factors. */
function addsUp(method: Method, value: string): boolean {
  return isPlainLora(method) && /\.lora([AB]|Bias)$/.test(value);
}

/** @throws InputError */
function checkTogether(parts: readonly Part[]): void {
  const problems = [factorProblems, clashes, wholeAndUpdated, tokenProblems].flatMap((find) => find(parts));
  if (problems.length > 0) throw new InputError("these adapters cannot be used together so:", problems);
}

function factorProblems(parts: readonly Part[]): Problem[] {
  return parts.flatMap(({ name, method, factor }) => {
    if (!Number.isFinite(factor))
      return [{ where: name, message: `expected a finite factor, got ${factor}` }];
    const whole = method.trainables.find((t) => !addsUp(method, t.name));
    if (factor === 1 || whole === undefined) return [];
    const what = isPlainLora(method) ? `it also trains ${whole.name} whole` : `it is ${method.name}`;
    return [
      { where: name, message: `${what}, and only low-rank updates have factors: expected 1, got ${factor}` },
    ];
  });
}

/** Values that two adapters train and that do not add up. */
function clashes(parts: readonly Part[]): Problem[] {
  const owners = new Map<string, Part>();
  const found = new Map<string, string>();
  for (const part of parts)
    for (const { name: value } of part.method.trainables) {
      const owner = owners.get(value);
      if (!owner) owners.set(value, part);
      else if (!(addsUp(part.method, value) && addsUp(owner.method, value))) {
        const pair = `${owner.name}, ${part.name}`;
        const reason = `both train ${value} (${owner.method.name}, ${part.method.name})`;
        if (!found.has(pair)) found.set(pair, `${reason}: only updates of plain LoRA add up`);
      }
    }
  return [...found].map(([where, message]) => ({ where, message }));
}

/** Modules that one adapter trains whole and another updates. */
function wholeAndUpdated(parts: readonly Part[]): Problem[] {
  const saved = parts.flatMap(({ name, method }) =>
    isPlainLora(method) ? method.plan.saved.map((m) => [m.path, name] as const) : [],
  );
  return saved.flatMap(([path, owner]) =>
    parts
      .filter((p) => p.name !== owner && p.method.trainables.some((t) => t.name === `${path}.loraA`))
      .map((p) => ({
        where: `${owner}, ${p.name}`,
        message: `one trains ${path} whole, the other adds an update to it`,
      })),
  );
}

function tokenProblems(parts: readonly Part[]): Problem[] {
  const adding = parts.filter((p) => p.method.virtualTokens !== null);
  if (adding.length < 2) return [];
  const where = adding.map((p) => p.name).join(", ");
  return [{ where, message: "each puts tokens of its own into the sequence" }];
}
