import { type Problem, UnsupportedError } from "../errors.ts";
import type { ModelConfig } from "./model-source.ts";

/** A weight that a model of some configuration has. */
export interface WeightSpec {
  readonly path: string;
  /** [out, in] for linear layers, [rows, width] for tables, [width] for norms and biases. */
  readonly shape: readonly number[];
}

function linear(path: string, out: number, width: number, bias: boolean): WeightSpec[] {
  const weight = { path: `${path}.weight`, shape: [out, width] };
  return bias ? [weight, { path: `${path}.bias`, shape: [out] }] : [weight];
}

function vector(path: string, width: number): WeightSpec {
  return { path, shape: [width] };
}

function perLayer(config: ModelConfig, layer: (prefix: string) => WeightSpec[]): WeightSpec[] {
  return Array.from({ length: config.layerCount }, (_, i) => layer(`layers.${i}`)).flat();
}

function head(config: ModelConfig): WeightSpec[] {
  return config.tiedEmbeddings ? [] : linear("head", config.vocabSize, config.hiddenSize, false);
}

function llamaLayer(config: ModelConfig, at: string): WeightSpec[] {
  const { hiddenSize: d, mlpSize, headDim, qkvBias, outputBias, mlpBias } = config;
  const qSize = config.headCount * headDim;
  const kvSize = config.kvHeadCount * headDim;
  return [
    vector(`${at}.attention_norm.weight`, d),
    ...linear(`${at}.attention.q`, qSize, d, qkvBias),
    ...linear(`${at}.attention.k`, kvSize, d, qkvBias),
    ...linear(`${at}.attention.v`, kvSize, d, qkvBias),
    ...linear(`${at}.attention.o`, d, qSize, outputBias),
    vector(`${at}.mlp_norm.weight`, d),
    ...linear(`${at}.mlp.gate`, mlpSize, d, mlpBias),
    ...linear(`${at}.mlp.up`, mlpSize, d, mlpBias),
    ...linear(`${at}.mlp.down`, d, mlpSize, mlpBias),
  ];
}

function qwen3Layer(config: ModelConfig, at: string): WeightSpec[] {
  return [
    ...llamaLayer(config, at),
    vector(`${at}.attention.q_norm.weight`, config.headDim),
    vector(`${at}.attention.k_norm.weight`, config.headDim),
  ];
}

function gpt2Layer(config: ModelConfig, at: string): WeightSpec[] {
  const { hiddenSize: d, mlpSize } = config;
  return [
    vector(`${at}.attention_norm.weight`, d),
    vector(`${at}.attention_norm.bias`, d),
    ...linear(`${at}.attention.qkv`, 3 * d, d, true),
    ...linear(`${at}.attention.o`, d, d, true),
    vector(`${at}.mlp_norm.weight`, d),
    vector(`${at}.mlp_norm.bias`, d),
    ...linear(`${at}.mlp.up`, mlpSize, d, true),
    ...linear(`${at}.mlp.down`, d, mlpSize, true),
  ];
}

function llamaLike(layer: (config: ModelConfig, at: string) => WeightSpec[]) {
  return (config: ModelConfig): WeightSpec[] => [
    ...linear("embed", config.vocabSize, config.hiddenSize, false),
    ...perLayer(config, (at) => layer(config, at)),
    vector("final_norm.weight", config.hiddenSize),
    ...head(config),
  ];
}

function gpt2(config: ModelConfig): WeightSpec[] {
  return [
    ...linear("embed", config.vocabSize, config.hiddenSize, false),
    ...linear("positions", config.maxPositions, config.hiddenSize, false),
    ...perLayer(config, (at) => gpt2Layer(config, at)),
    vector("final_norm.weight", config.hiddenSize),
    vector("final_norm.bias", config.hiddenSize),
    ...head(config),
  ];
}

const SPECS: Readonly<Record<string, (config: ModelConfig) => WeightSpec[]>> = {
  llama: llamaLike(llamaLayer),
  qwen2: llamaLike(llamaLayer),
  qwen3: llamaLike(qwen3Layer),
  gpt2,
};

/** Every weight of a model, in the order of its forward pass; a checkpoint must have exactly these.
 *  @throws UnsupportedError for an unknown family. */
export function expectedWeights(config: ModelConfig): WeightSpec[] {
  const specs = Object.hasOwn(SPECS, config.family) ? SPECS[config.family] : undefined;
  if (!specs)
    throw new UnsupportedError(
      `no weights are known for the model family "${config.family}"; known: ${Object.keys(SPECS).join(", ")}`,
    );
  return specs(config);
}

/** Compares the weights found in a checkpoint with those its configuration calls for. `found`: path → name in the
 *  checkpoint and shape. `nameOf`: what a missing path would be called there. */
export function weightProblems(
  expected: readonly WeightSpec[],
  found: ReadonlyMap<string, { readonly name: string; readonly shape: readonly number[] }>,
  nameOf: (path: string) => string,
): Problem[] {
  const problems: Problem[] = [];
  const paths = new Set(expected.map(({ path }) => path));
  for (const { path, shape } of expected) {
    const weight = found.get(path);
    if (!weight) problems.push({ where: nameOf(path), message: `is missing, expected shape [${shape}]` });
    else if (String(weight.shape) !== String(shape))
      problems.push({ where: weight.name, message: `has shape [${weight.shape}], expected [${shape}]` });
  }
  for (const [path, { name }] of found)
    if (!paths.has(path)) problems.push({ where: name, message: "is not a weight of this configuration" });
  return problems;
}
