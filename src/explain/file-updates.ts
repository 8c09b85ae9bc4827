import { UnsupportedError } from "../errors.ts";
import type { AdapterContent } from "../formats/peft/adapter.ts";
import type { ModuleTensors } from "../formats/peft/keys.ts";
import { scalingOf } from "../formats/peft/targets.ts";
import type { FloatTensor } from "../tensor/tensor.ts";
import { factorUpdate } from "./factor-update.ts";
import type { AdapterUpdates, ModuleUpdate } from "./update.ts";

/** The updates of a LoRA adapter in PEFT's format, of which nothing but its files is known. `why`: there is no base.
 *  @throws UnsupportedError for DoRA, whose update depends on the base */
export function fileUpdates(
  { config, tensors }: AdapterContent,
  path: string,
  why: string,
): Pick<AdapterUpdates, "methods" | "modules" | "withoutUpdate" | "notes" | "close"> {
  if (config.dora) throw new UnsupportedError(`${path}: DoRA's ΔW depends on the base's weights, and ${why}`);
  const modules = [...tensors].flatMap(([name, slots]): ModuleUpdate[] => {
    const kind = slots.loraEmbeddingA ? "embedding" : "linear";
    const [a, b] = [slots.loraA ?? slots.loraEmbeddingA, slots.loraB ?? slots.loraEmbeddingB];
    if (!a || !b) return [];
    return [factorUpdate({ path: name, kind, a, b, scaling: scalingOf(config, name) })];
  });
  return { methods: ["lora"], modules, withoutUpdate: [], notes: othersOf(tensors), close: async () => {} };
}

/** What is trained whole. */
function othersOf(tensors: ReadonlyMap<string, ModuleTensors>): string[] {
  const count = (of: (slots: ModuleTensors) => FloatTensor | undefined): number =>
    [...tensors.values()].filter(of).length;
  const [weights, vectors] = [count((s) => s.savedWeight), count((s) => s.bias ?? s.savedBias ?? s.loraBias)];
  return [
    ...(weights > 0
      ? [
          `weights that are trained whole are left out, ${weights} of them: what they change is seen beside the base only`,
        ]
      : []),
    ...vectorNote(vectors),
  ];
}

/** What is said of biases and norms. */
export function vectorNote(count: number): string[] {
  return count > 0
    ? [`biases and norms change as well, ${count} of them: vectors, which have no singular values`]
    : [];
}
