import { InputError, UnsupportedError } from "../errors.ts";
import type { BaseModel } from "../models/base.ts";
import { openBase } from "../models/base-model.ts";
import { encoderOf } from "../models/family.ts";
import type { OpenedAdapter } from "../peft/files/parts.ts";
import type { Adaptation } from "../peft/use/active.ts";
import { adaptBase } from "../peft/use/adapted-base.ts";
import { chooseDevice } from "../runtime/check/choose.ts";
import { DEFAULT_DEVICE } from "../runtime/device.ts";
import { openRuntime, type Runtime } from "../runtime/runtime.ts";
import { floats } from "../tensor/tensor.ts";
import { sequenceEncoder } from "../text/sequence.ts";
import { type ActiveAdapter, describeAdapter } from "./loaded.ts";
import { type LoadModelOptions, onDevice } from "./model.ts";
import { createPredictor, outputText, type Prediction, type Predictor } from "./predict.ts";

/** A text, or the two texts of a pair. */
export type ClassifierInput = string | readonly [first: string, second: string];

/** What a classifier says about one text or pair. */
export interface Classification {
  /** Name of the likeliest class; the value as text, where the model gives one. */
  readonly label: string;
  /** Probability of the label, 0 to 1; the value. */
  readonly score: number;
  /** Probability of every class, by name; the value alone under its name. */
  readonly scores: Readonly<Record<string, number>>;
  /** Tokens that did not fit into the model's positions, and were cut off. */
  readonly cutTokens: number;
}

/** An encoder ready to classify. */
export interface LoadedClassifier {
  readonly base: BaseModel;
  readonly adapter: ActiveAdapter | null;
  /** Names of the classes in their order; one for a value. */
  readonly labels: readonly string[];
  /** Whether it tells classes apart or gives a value. */
  readonly kind: "classes" | "value";
  /** One answer per input, in their order. */
  classify(inputs: readonly ClassifierInput[]): Promise<Classification[]>;
  close(): Promise<void>;
}

/** Inputs that are run side by side. */
const BATCH = 32;

/** Opens an encoder, with or without an adapter, to classify texts.
 *  @throws UnsupportedError for a decoder; InputError for an encoder without a head; as `openBase` and `openAdapter` else */
export async function loadClassifier(options: LoadModelOptions): Promise<LoadedClassifier> {
  const chosen = await chooseDevice(options.device ?? DEFAULT_DEVICE);
  const opened = onDevice(await openBase(options.model, options), chosen);
  if (!opened.config.encoder)
    throw new UnsupportedError(
      `${opened.source.name} is a decoder (${opened.config.architecture}): it has no classes to tell apart. Generate with it: lowrank generate, loadModel`,
    );
  const { base, opened: adapters, factors, adaptation } = await adaptBase(opened, options, options);
  const [used] = factors.keys();
  const adapter = used === undefined ? null : (adapters.get(used) as OpenedAdapter);
  const maxLength = maxLengthOf(options, base);
  const runtime = openRuntime({ device: chosen.device, threads: options.threads ?? null });
  try {
    return createLoaded(base, adapter, runtime, await predictorOf(runtime, base, adaptation), maxLength);
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

function maxLengthOf({ contextLength }: LoadModelOptions, { config, source }: BaseModel): number {
  const wanted = contextLength ?? config.maxPositions;
  if (Number.isInteger(wanted) && wanted >= 3 && wanted <= config.maxPositions) return wanted;
  const message = `expected a whole number from 3 to ${config.maxPositions}, the positions of ${source.name}, got ${wanted}`;
  throw new InputError("the model cannot be loaded so", [{ where: "contextLength", message }]);
}

async function predictorOf(
  runtime: Runtime,
  { config, family, modules, frozen, weights }: BaseModel,
  adaptation: Adaptation | null,
): Promise<Predictor> {
  if (adaptation) await runtime.put({ theta: floats(adaptation.theta, [adaptation.theta.length]) });
  const { maxPositions } = config;
  const methods = adaptation?.methods ?? [];
  const sizes = { positionCount: maxPositions, rowTokens: BATCH * maxPositions };
  return createPredictor(runtime, { config, family, modules, frozen, methods, ...sizes }, weights.folder);
}

function createLoaded(
  base: BaseModel,
  adapter: OpenedAdapter | null,
  runtime: Runtime,
  predictor: Predictor,
  maxLength: number,
): LoadedClassifier {
  const classifier = encoderOf(base.config).classifier;
  const { labels, kind } = classifier;
  const encode = sequenceEncoder(base.tokenizer, base.source.tokenizer.tokenizerJson);
  const answer = ({ target, scores }: Prediction, cutTokens: number): Classification => ({
    label: outputText(target, classifier),
    score: (kind === "value" ? target : scores[target]) as number,
    scores: Object.fromEntries(labels.map((label, i) => [label, scores[i] as number])),
    cutTokens,
  });
  return {
    base,
    adapter: adapter && describeAdapter(adapter),
    labels,
    kind,
    classify: async (inputs) => {
      const sequences = inputs.map((one) =>
        typeof one === "string" ? encode(one, null, maxLength) : encode(one[0], one[1], maxLength),
      );
      const answers: Classification[] = [];
      for (let i = 0; i < sequences.length; i += BATCH) {
        const group = sequences.slice(i, i + BATCH);
        const predictions = await predictor.predict(group);
        answers.push(...predictions.map((p, k) => answer(p, group[k]?.cut ?? 0)));
      }
      return answers;
    },
    close: async () => {
      await predictor.close();
      await runtime.close();
    },
  };
}
