import { topologicalOrder } from "./gradients.ts";
import { input, type Node, resolve, type Value, withInputs } from "./value.ts";

/** A graph cut in two, named outputs each. */
export interface HoistedGraph {
  /** What depends on the given input and on nothing else that changes: outputs `<prefix>.0`, …. */
  readonly once: Readonly<Record<string, Value>>;
  /** The rest, in which those are inputs under the same names. Not differentiable. */
  readonly each: Readonly<Record<string, Value>>;
}

/** fixed: weights and constants alone; once: the input and such; each: other inputs too. */
type Dependence = "fixed" | "once" | "each";

function dependences(order: readonly Node[], from: Value): ReadonlyMap<Node, Dependence> {
  const found = new Map<Node, Dependence>();
  for (const n of order) {
    const own = n.source?.kind === "input" ? (n === from.node ? "once" : "each") : "fixed";
    const all = [own, ...inputsOf(n).map((v) => found.get(v.node) as Dependence)];
    found.set(n, all.includes("each") ? "each" : all.includes("once") ? "once" : "fixed");
  }
  return found;
}

function inputsOf(n: Node): Value[] {
  return (n.alias ? [n.alias] : n.inputs).filter((v) => v !== null);
}

/** Takes out of a graph what depends on the input `from` alone, for an input that stays the same over many runs. */
export function hoist(outputs: Readonly<Record<string, Value>>, from: Value, prefix: string): HoistedGraph {
  const order = topologicalOrder(Object.values(outputs), inputsOf);
  const dependence = dependences(order, from);
  const once: Record<string, Value> = {};
  const replaced = new Map<Value, Value>();
  const rest = (value: Value): Value => {
    const v = resolve(value);
    const before = replaced.get(v);
    if (before || v === from || dependence.get(v.node) !== "once") return before ?? v;
    const name = `${prefix}.${replaced.size}`;
    const made = input(name, v.dtype, v.shape);
    once[name] = v;
    replaced.set(v, made);
    return made;
  };
  const rebuilt = new Map<Node, Node>();
  const current = (v: Value): Value => {
    const found = rest(v);
    return rebuilt.get(found.node)?.outputs[found.index] ?? found;
  };
  for (const n of order)
    if (!n.alias && !n.source && dependence.get(n) === "each")
      rebuilt.set(
        n,
        withInputs(
          n,
          n.inputs.map((v) => v && current(v)),
        ),
      );
  const each = Object.fromEntries(Object.entries(outputs).map(([name, v]) => [name, current(v)]));
  return { once, each };
}
