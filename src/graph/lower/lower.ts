import { floats, longs, type Tensor } from "../../tensor/tensor.ts";
import { topologicalOrder } from "../gradients.ts";
import { atPlace, type Dim, input, type Node, resolve, type Value, withInputs } from "../value.ts";
import { dimTerms, fixedNumbers, type RunSizes, type Term, termsOf } from "./sizes.ts";

/** A graph in the operators that a device has. */
export interface LoweredGraph {
  readonly outputs: Readonly<Record<string, Value>>;
  /** Inputs that the host forms from the sizes of dimensions, before each run. */
  readonly hostInputs: ReadonlyMap<string, (sizes: RunSizes) => Tensor>;
}

/** What a rule may ask for. */
export interface LoweringContext {
  /** An int64 vector of sizes, which the host forms at each run. */
  sizes(dims: readonly Dim[]): Value;
  /** Numbers of an int64 input of the original node that are the same at every run; null for others. */
  fixed(value: Value): readonly number[] | null;
}

/** Other nodes for one; null: the node stays. `inputs` are lowered already. Gradients are there already, so what a rule makes need
 *  not be differentiable. */
export type Rule = (
  node: Node,
  inputs: readonly (Value | null)[],
  context: LoweringContext,
) => readonly Value[] | null;

/** What a device has otherwise, by operator. */
export interface Lowering {
  readonly rules: Readonly<Record<string, Rule>>;
  /** Operators that it lacks, and for which there is no rule: a graph with one is refused before it loads. */
  readonly lacks: ReadonlySet<string>;
  /** Arithmetic of shapes stays in the graph, for others than our runtime to run. Default: it is the host's. */
  readonly keepsShapes?: boolean;
}

/** Inputs that the host forms, each made once. */
function createHostInputs() {
  const forms = new Map<string, (sizes: RunSizes) => Tensor>();
  const made = new Map<string, Value>();
  return {
    forms,
    of: (name: string, terms: readonly Term[], dtype: Value["dtype"]): Value => {
      const before = made.get(name);
      if (before) return before;
      const shape = [terms.length];
      forms.set(name, (sizes) => {
        const numbers = terms.map((term) => term(sizes));
        if (dtype === "float32") return floats(Float32Array.from(numbers, Number), shape);
        return longs(BigInt64Array.from(numbers), shape);
      });
      const value = input(name, dtype, shape);
      made.set(name, value);
      return value;
    },
  };
}

/** The graph of `outputs` in other operators: each node as the rules say by its operator, else as it is. Arithmetic of shapes, which
 *  devices leave to the CPU, is the host's, if it is not kept. */
export function lower(
  outputs: Readonly<Record<string, Value>>,
  { rules, keepsShapes = false }: Lowering,
): LoweredGraph {
  const host = createHostInputs();
  const terms = new Map<Value, readonly Term[]>();
  const replaced = new Map<Value, Value>();
  const context: LoweringContext = {
    sizes: (dims) => host.of(`sizes.${dims.join(",")}`, dimTerms(dims), "int64"),
    fixed: (value) => {
      const own = terms.get(resolve(value));
      return own ? fixedNumbers(own) : null;
    },
  };
  const numbers = new Map<Value, number>();
  const current = (value: Value): Value => {
    const v = resolve(value);
    const own = terms.get(v);
    if (!own || v.node.source) return replaced.get(v) ?? v;
    if (!numbers.has(v)) numbers.set(v, numbers.size);
    return host.of(`host.${numbers.get(v)}`, own, v.dtype);
  };
  for (const node of topologicalOrder(Object.values(outputs), (n) => (n.alias ? [n.alias] : n.inputs))) {
    if (node.alias) continue;
    const own = keepsShapes ? null : termsOf(node, terms);
    if (own) terms.set(node.outputs[0] as Value, own);
    if (own || node.source) continue;
    const inputs = node.inputs.map((v) => v && current(v));
    const others = atPlace(node.place, () => rules[node.opType]?.(node, inputs, context) ?? null);
    const results = others ?? withInputs(node, inputs).outputs;
    node.outputs.forEach((v, i) => {
      replaced.set(v, results[i] as Value);
    });
  }
  const lowered = Object.entries(outputs).map(([name, v]) => [name, current(v)] as const);
  return { outputs: Object.fromEntries(lowered), hostInputs: host.forms };
}
