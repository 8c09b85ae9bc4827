import { basename, resolve } from "node:path";
import { InputError, UnsupportedError } from "../../errors.ts";
import { baseModelOfAdapter } from "../../formats/foreign-adapter.ts";
import { writeGgufAdapter } from "../../formats/gguf/adapter.ts";
import { writeModelfile } from "../../formats/gguf/modelfile.ts";
import { requireNewGguf } from "../../formats/gguf/save.ts";
import { requireFreeFolder } from "../../formats/hf/save.ts";
import type { LoraFactors } from "../../formats/lora-factors.ts";
import { writeMlxAdapter } from "../../formats/mlx/adapter.ts";
import { writeLabels } from "../../formats/peft/labels.ts";
import { type AdapterText, copyAdapterText } from "../../formats/peft/text.ts";
import { publicModelName } from "../../hub/known-names.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import { type OpenBaseOptions, openSource, resolveOptions } from "../../models/base-model.ts";
import type { FloatTensor } from "../../tensor/tensor.ts";
import type { Method } from "../method.ts";
import { isPlainLora, type Lora } from "../methods/lora.ts";
import { baseIdentityOf, type ModelShape } from "../model-shape.ts";
import { unflatten } from "../parameters.ts";
import { openAdapter, writeMethods } from "./adapter.ts";
import { adapterShape } from "./adapter-shape.ts";
import { shownName, writeAdapterCard } from "./card.ts";
import type { OpenedAdapter } from "./parts.ts";

/** Formats that adapters can be written in: PEFT's folder, mlx-lm's folder, llama.cpp's and Ollama's .gguf file. */
export type AdapterFormat = "peft" | "mlx" | "gguf";

/** What to convert, and where to. */
export interface ConvertOptions extends OpenBaseOptions {
  /** In any of the formats: folder, run folder, .gguf file or Hub id. */
  readonly adapter: string;
  readonly to: AdapterFormat;
  /** New folder; for "gguf" a new file that ends in .gguf. */
  readonly output: string;
  /** The base model, of which only the shape is needed; default: the one that the adapter names. */
  readonly model?: string;
  /** Also use another model as the base than the adapter names. */
  readonly anyBase?: boolean;
}

/** What was written. */
export interface ConvertResult {
  readonly output: string;
  /** Modules that the adapter changes. */
  readonly modules: number;
  /** The largest. */
  readonly rank: number;
  readonly warnings: readonly string[];
}

interface Target {
  /** Program whose format it is, for the folder's card; null: a file has none. */
  readonly library: "peft" | "mlx" | null;
  readonly check: (output: string) => Promise<void>;
  readonly write: (output: string, lora: Lora, opened: OpenedAdapter, to: WriteContext) => Promise<void>;
}

interface WriteContext {
  readonly shape: ModelShape;
  readonly baseModel: string;
}

/** One line per format. */
const TARGETS: Readonly<Record<AdapterFormat, Target>> = {
  peft: {
    library: "peft",
    check: requireFreeFolder,
    write: async (output, lora, { theta, trainedOn }, { shape, baseModel }) => {
      await writeMethods(output, [lora], theta, baseModel, trainedOn ?? baseIdentityOf(shape));
      if (shape.config.encoder) await writeLabels(output, shape.config.encoder.classifier);
    },
  },
  mlx: {
    library: "mlx",
    check: requireFreeFolder,
    write: (output, lora, { theta }, { shape, baseModel }) =>
      writeMlxAdapter(output, factorsOf(lora, theta, "mlx-lm"), shape.config, baseModel),
  },
  gguf: {
    library: null,
    check: requireNewGguf,
    write: (output, lora, { theta }, { shape, baseModel }) =>
      writeGgufAdapter(output, factorsOf(lora, theta, "llama.cpp"), shape.config, baseModel),
  },
};

/** Every format, for help and errors. */
export const ADAPTER_FORMATS: readonly AdapterFormat[] = Object.keys(TARGETS) as AdapterFormat[];

function loraOf(methods: readonly Method[]): Lora {
  const [only, ...others] = methods;
  if (only && isPlainLora(only) && others.length === 0) return only;
  throw new UnsupportedError(
    `only plain LoRA adapters can be converted, this one is ${methods.map((m) => m.name).join(" + ")}: other programs have ` +
      "no place for it. Merge it into the model instead, where it can be merged.",
  );
}

/** LoRA by module. @throws UnsupportedError naming what else the adapter trains */
function factorsOf(lora: Lora, theta: Float32Array, program: string): LoraFactors[] {
  const values = unflatten(theta, lora.trainables);
  const modules = lora.plan.modules;
  const names = new Set(modules.flatMap((m) => [`${m.path}.loraA`, `${m.path}.loraB`]));
  const others = lora.trainables.map((t) => t.name).filter((name) => !names.has(name));
  if (others.length > 0)
    throw new UnsupportedError(
      `this adapter also trains ${others.join(", ")}, for which ${program}'s format has no place. ` +
        "Merge it into the model instead.",
    );
  return [...(lora.factors((name) => values.get(name) as FloatTensor) ?? [])];
}

/** What a file has no place for. */
function lostText(text: AdapterText | null): string[] {
  if (text === null) return [];
  const lost = [
    ...(text.tokenizer ? ["tokenizer"] : []),
    ...(text.chatTemplate ? ["chat template"] : []),
    ...(Object.keys(text.templateArgs).length > 0 ? ["variables of the chat template"] : []),
  ];
  return lost.length === 0 ? [] : [`a GGUF file has no place for the adapter's ${lost.join(", ")}`];
}

/** A Modelfile for Ollama, with the base where it lies here. */
async function accompany(output: string, model: string, options: ConvertOptions): Promise<readonly string[]> {
  const source = await openSource(model, options);
  try {
    return await writeModelfile(output, source, { from: source.path, adapter: `./${basename(output)}` });
  } finally {
    await source.close();
  }
}

async function baseOf(options: ConvertOptions, path: string): Promise<string> {
  if (options.model !== undefined) return options.model;
  const named = await baseModelOfAdapter(path);
  if (named !== null) return named;
  throw new InputError("The adapter cannot be converted:", [
    { where: options.adapter, message: "names no base model: give the one that it is for" },
  ]);
}

/** Writes a LoRA adapter in another program's format. What the format cannot say (rsLoRA, ranks and alphas by pattern) is
 *  folded into the weights, so that the result computes the same.
 *  @throws InputError if the output is there already, the adapter does not fit its base, or names none; UnsupportedError for
 *  other methods than LoRA, and for what the format has no place for; as `openAdapter` */
export async function convertAdapter(options: ConvertOptions): Promise<ConvertResult> {
  const target = Object.hasOwn(TARGETS, options.to) ? TARGETS[options.to] : undefined;
  if (!target)
    throw new UnsupportedError(
      `unknown adapter format "${options.to}"; known: ${ADAPTER_FORMATS.join(", ")}`,
    );
  const output = resolve(options.output);
  await target.check(output);
  const path = await resolveAdapter(options.adapter, resolveOptions(options));
  const model = await baseOf(options, path);
  const shape = await adapterShape(model, options, path);
  const opened = await openAdapter(path, shape, options);
  const lora = loraOf(opened.methods);
  const baseModel = publicModelName(model);
  await target.write(output, lora, opened, { shape, baseModel });
  const modules = lora.plan.modules.length;
  const rank = Math.max(0, ...lora.plan.modules.map((m) => m.rank));
  const warnings = [...opened.warnings];
  if (target.library === null) {
    warnings.push(...lostText(opened.text), ...(await accompany(output, model, options)));
  } else {
    if (opened.text !== null) await copyAdapterText(path, output);
    const name = await shownName(options.adapter);
    const summary = `LoRA of ${modules} modules, rank ${rank}, converted from ${name} by lowrank.`;
    const { library } = target;
    const classifier = shape.config.encoder?.classifier ?? null;
    await writeAdapterCard(output, {
      title: name,
      summary,
      baseModel,
      methods: ["lora"],
      library,
      classifier,
    });
  }
  return { output: options.output, modules, rank, warnings };
}
