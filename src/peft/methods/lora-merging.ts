import { add, matmul, mul, reshape, transpose } from "../../graph/ops/index.ts";
import { input, type Value } from "../../graph/value.ts";
import { scalar } from "../../tensor/tensor.ts";
import type { Merging, Trainable } from "../method.ts";
import { magnitudeRatio } from "./dora-forward.ts";
import type { LoraModule, LoraPlan } from "./lora-plan.ts";

/** W + s·B·A for a linear weight [out, in], W + s·(B·A)ᵀ for an embedding [vocab, dim]; with DoRA scaled to its magnitude. */
function foldedWeight(kind: LoraModule["kind"], dora: boolean): Value {
  const rows = kind === "linear" ? "out" : "in";
  const w = input("w", "float32", [rows, kind === "linear" ? "in" : "out"]);
  const [a, b] = [input("a", "float32", ["r", "in"]), input("b", "float32", ["out", "r"])];
  const delta = matmul(b, a);
  const turned = kind === "linear" ? delta : transpose(delta, [1, 0]);
  const scaling = input("scaling", "float32", []);
  const sum = add(w, mul(turned, scaling));
  if (!dora) return sum;
  const ratio = magnitudeRatio(input("magnitude", "float32", ["out"]), { kind, weight: w, a, b, scaling });
  return mul(sum, kind === "linear" ? reshape(ratio, ["out", 1]) : ratio);
}

/** s·b of B's own bias, on top of the base's. */
function foldedBias(): Value {
  const [bias, own] = [input("bias", "float32", ["out"]), input("own", "float32", ["out"])];
  return add(bias, mul(own, input("scaling", "float32", [])));
}

/** Folds LoRA into the weights: W = W0 + (α/r)·B·A (LoRA §4.1); what was trained whole replaces the weight. `weights`: paths
 *  of the model's. A bias of B needs one of the module to go to, as in PEFT. */
export function loraMerging(
  plan: LoraPlan,
  trainables: readonly Trainable[],
  weights: ReadonlySet<string>,
): Merging | string {
  const adapted = new Map(plan.modules.map((m) => [`${m.path}.weight`, m]));
  const biased = new Map(plan.modules.filter((m) => m.hasBias).map((m) => [`${m.path}.bias`, m]));
  const homeless = [...biased].filter(([path]) => !weights.has(path)).map(([, m]) => m.name);
  if (homeless.length > 0)
    return `it has lora_bias, and ${homeless.length} of its modules have no bias to add it to (${homeless[0]})`;
  const whole = trainables.map((t) => t.name).filter((n) => /\.(weight|bias)$/.test(n));
  return {
    paths: [...new Set([...adapted.keys(), ...biased.keys(), ...whole])],
    whole: new Set(whole),
    read: async (path, { base, trained, compute }) => {
      const owner = biased.get(path);
      if (owner) {
        const bias = whole.includes(path) ? trained(path) : await base(path);
        const feeds = { bias, own: trained(`${owner.path}.loraBias`), scaling: scalar(owner.scaling) };
        return compute.run("lora bias", foldedBias, feeds);
      }
      const m = adapted.get(path);
      if (!m) return trained(path);
      const feeds = { w: await base(path), a: trained(`${m.path}.loraA`), b: trained(`${m.path}.loraB`) };
      return compute.run(`lora ${m.kind} ${plan.dora}`, () => foldedWeight(m.kind, plan.dora), {
        ...feeds,
        ...(plan.dora ? { magnitude: trained(`${m.path}.magnitude`) } : {}),
        scaling: scalar(m.scaling),
      });
    },
  };
}
