import { floats } from "../../tensor/tensor.ts";
import { allBiasesConfig } from "../architectures/table.ts";
import type { ModelConfig, ModelSource } from "../model.ts";
import { parseHfConfig } from "./config.ts";

/** Path and shape of a weight. */
interface Placed {
  readonly path: string;
  readonly shape: readonly number[];
}

/** A model as it would be with a bias, zero, in every linear layer but the head: where the adapter of one without biases adds
 *  them. `weightsOf` lists the weights of a configuration. Closing it closes `source`. */
export function withAllBiases(
  source: ModelSource,
  weightsOf: (config: ModelConfig) => readonly Placed[],
): ModelSource {
  const hfConfig = { ...source.hfConfig, ...allBiasesConfig(source.config.architecture) };
  const config = parseHfConfig(hfConfig, source.path);
  const there = new Set(source.weights.map((w) => w.path));
  const added = weightsOf(config).filter(({ path }) => !there.has(path));
  const zeros = added.map(({ path, shape }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const read = async () => floats(new Float32Array(size), shape);
    return { path, shape, name: source.nameOf(path), storage: "F32", sizeBytes: 4 * size, read };
  });
  return { ...source, hfConfig, config, weights: [...source.weights, ...zeros] };
}
