import type { Tensor } from "../../tensor/tensor.ts";
import type { SerializedGraph } from "../onnx.ts";
import type { LoweredGraph } from "./lower.ts";
import type { RunSizes } from "./sizes.ts";

type Inputs = SerializedGraph["inputs"];
type Feeds = Readonly<Record<string, Tensor>>;

/** What the shapes of fed tensors say about named dimensions. */
function sizesOf(inputs: Inputs, feeds: Feeds): RunSizes {
  const sizes = new Map<string, number>();
  for (const { name, shape } of inputs)
    shape.forEach((d, i) => {
      const size = feeds[name]?.shape[i];
      if (typeof d === "string" && size !== undefined) sizes.set(d, size);
    });
  return sizes;
}

/** The feeds of a run of a lowered graph: `feeds`, and what the host forms of their sizes. */
export function withHostInputs(inputs: Inputs, hostInputs: LoweredGraph["hostInputs"], feeds: Feeds): Feeds {
  if (hostInputs.size === 0) return feeds;
  const sizes = sizesOf(inputs, feeds);
  const formed = inputs.flatMap(({ name }) => {
    const form = hostInputs.get(name);
    return form ? [[name, form(sizes)] as const] : [];
  });
  return { ...feeds, ...Object.fromEntries(formed) };
}
