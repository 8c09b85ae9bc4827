import { basename, dirname, resolve } from "node:path";
import { type CardMetadata, writeCard } from "../../formats/hf/card.ts";
import type { Classifier } from "../../formats/model.ts";
import { licenceOf } from "../../hub/known-names.ts";
import { hubModelId } from "../../hub/resolve.ts";

/** What a card says of an adapter. */
export interface AdapterCard {
  readonly title: string;
  /** The first paragraph. */
  readonly summary: string;
  /** As the adapter's own files name it; null where they name none. */
  readonly baseModel: string | null;
  /** Names of its methods. */
  readonly methods: readonly string[];
  /** Program whose format its files have. */
  readonly library: "peft" | "mlx" | "lowrank";
  /** What an encoder's head tells apart; null for a decoder. */
  readonly classifier: Classifier | null;
  /** Hub ids of the training data. */
  readonly datasets?: readonly string[];
  /** Markdown between summary and use. */
  readonly sections?: readonly string[];
}

const FOLDER = "path/to/this/folder";

function fenced(language: string, lines: readonly string[]): string {
  return [`\`\`\`${language}`, ...lines, "```"].join("\n");
}

/** What a card calls the use of a model. */
interface Use {
  readonly task: CardMetadata["task"];
  readonly command: string;
  readonly load: string;
  /** A line of TypeScript. */
  readonly call: string;
  readonly peftClass: string;
}

const GENERATE: Use = {
  task: "text-generation",
  command: "generate",
  load: "loadModel",
  call: 'const { text } = await model.generateText({ prompt: "…" });',
  peftClass: "AutoPeftModelForCausalLM",
};

const CLASSIFY: Use = {
  task: "text-classification",
  command: "classify",
  load: "loadClassifier",
  call: 'const [answer] = await model.classify(["…"]);',
  peftClass: "AutoPeftModelForSequenceClassification",
};

function useOf(classifier: Classifier | null): Use {
  return classifier === null ? GENERATE : CLASSIFY;
}

/** How to use an adapter: by lowrank, and by the program whose format it has. */
function usage({ library, classifier }: AdapterCard, base: string): string {
  const { command, load, call, peftClass } = useOf(classifier);
  const count = classifier === null ? "" : `, num_labels=${classifier.labels.length}`;
  const python = [
    `from peft import ${peftClass}`,
    "",
    `model = ${peftClass}.from_pretrained("${FOLDER}"${count})`,
  ];
  const others: Readonly<Record<AdapterCard["library"], readonly string[]>> = {
    peft: ["PEFT, in Python:", fenced("py", python)],
    mlx: ["mlx-lm:", fenced("sh", [`mlx_lm.generate --model ${base} --adapter-path ${FOLDER} --prompt "…"`])],
    lowrank: [],
  };
  const api = [
    `import { ${load} } from "lowrank";`,
    "",
    `const model = await ${load}({ model: "${base}", adapter: "${FOLDER}" });`,
    call,
  ];
  return [
    "## Use",
    "A folder or, once it is on the Hub, its id:",
    fenced("sh", [`npx lowrank ${command} --adapter ${FOLDER} "…"`]),
    fenced("ts", api),
    ...others[library],
  ].join("\n\n");
}

/** A name for readers: a Hub id as it is, of a path the last part alone (of a run's adapter the run). */
export async function shownName(name: string): Promise<string> {
  const path = resolve(name);
  return (await hubModelId(name)) ?? basename(basename(path) === "adapter" ? dirname(path) : path);
}

/** The base's name for readers, a link where it is on the Hub. */
function baseText(baseModel: string | null, hubId: string | null): string {
  if (hubId !== null) return `[${hubId}](https://huggingface.co/${hubId})`;
  return baseModel === null ? "a base model that it does not name" : basename(baseModel);
}

/** Writes the card of an adapter folder, for people and the Hub; one that someone else wrote stays.
 *  @throws LowrankError ("storage") if the disk does not take it */
export async function writeAdapterCard(folder: string, card: AdapterCard): Promise<void> {
  const { baseModel, methods, library, classifier, datasets = [], sections = [] } = card;
  const hubId = baseModel === null ? null : await hubModelId(baseModel);
  const metadata: CardMetadata = {
    baseModel: hubId,
    baseModelRelation: "adapter",
    datasets,
    license: null, // the author's to choose
    library,
    task: useOf(classifier).task,
    tags: methods,
  };
  const base = hubId ?? (baseModel === null ? "BASE" : basename(baseModel));
  const body = [
    `# ${card.title}`,
    `${card.summary} Base model: ${baseText(baseModel, hubId)}.`,
    ...sections,
    usage(card, base),
  ];
  await writeCard(folder, metadata, body.join("\n\n"));
}

/** What a card says of a merged model. */
export interface MergedCard {
  /** As the user named it. */
  readonly model: string;
  /** Where they are: folders, files or Hub ids. */
  readonly adapters: readonly string[];
  readonly methods: readonly string[];
  readonly changedWeights: number;
  readonly dtype: string;
  /** What an encoder's head tells apart; null for a decoder. */
  readonly classifier: Classifier | null;
}

/** Writes the card of a merged Hugging Face folder. @throws LowrankError ("storage") if the disk does not take it */
export async function writeMergedCard(folder: string, card: MergedCard): Promise<void> {
  const { model, adapters, methods, changedWeights, dtype, classifier } = card;
  const { task, command } = useOf(classifier);
  const names = await Promise.all(adapters.map(shownName));
  const hubId = await hubModelId(model);
  const metadata: CardMetadata = {
    baseModel: hubId,
    baseModelRelation: "finetune",
    datasets: [],
    license: licenceOf(model),
    library: "transformers",
    task,
    tags: methods,
  };
  const python = ["from transformers import pipeline", "", `pipeline("${task}", "${FOLDER}")("…")`];
  const body = [
    `# ${await shownName(model)}, merged with ${names.join(" + ")}`,
    `${baseText(model, hubId)} with an adapter (${methods.join(" + ")}) folded into ${changedWeights} of its weights by lowrank, ` +
      `as ${dtype}: an ordinary model, which needs no adapter at run time.`,
    "## Use",
    fenced("sh", [`npx lowrank ${command} --model ${FOLDER} "…"`]),
    fenced("py", python),
  ];
  await writeCard(folder, metadata, body.join("\n\n"));
}
