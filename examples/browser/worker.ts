// The model lives in this worker: computing blocks its thread, and the page stays usable.
import {
  browserStorage,
  directoryStorage,
  fetchModel,
  filesStorage,
  LowrankError,
  memoryStorage,
  openModel,
  type PageAnswers,
  type PageData,
  type PageModel,
  type PageTrainOptions,
  type Storage,
} from "lowrank/browser";
import type { ModelChoice, Reply, Request, Settings } from "./messages.ts";

const SHOWN_ROWS = 8;
const ANSWER_TOKENS = 80;
const CONTEXT_TOKENS = 512;

let model: PageModel | null = null;
let answers: PageAnswers | null = null;
let adapter: Storage | null = null;
let training: AbortController | null = null;

const say = (reply: Reply): void => postMessage(reply);
const onProgress = (progress: { what: string; doneBytes: number; totalBytes: number | null }): void =>
  say({ kind: "progress", ...progress });

/** The files of a model; those from an address are kept for the next visit where the browser allows it. */
async function filesOf(choice: ModelChoice): Promise<Storage> {
  if (choice.kind === "folder") return directoryStorage(choice.handle);
  if (choice.kind === "files") return filesStorage(choice.files, folderName(choice.files));
  const { url } = choice;
  const storage = await browserStorage(`models/${encodeURIComponent(url)}`).catch(() => memoryStorage(url));
  return fetchModel(url, { storage, onProgress });
}

function folderName(files: readonly File[]): string {
  return files[0]?.webkitRelativePath.split("/")[0] || (files[0]?.name ?? "");
}

/** A Hub address names its model; others are called by their last part. */
function nameOf(choice: ModelChoice, files: Storage): string {
  if (choice.kind !== "url") return files.path;
  if (choice.name !== undefined) return choice.name;
  const hub = /huggingface\.co\/([^/]+\/[^/]+)\//.exec(choice.url)?.[1];
  return hub ?? (choice.url.replace(/\/$/, "").split("/").at(-1) as string);
}

async function open({ model: choice, device, file }: Extract<Request, { kind: "open" }>): Promise<void> {
  await forget();
  await model?.close();
  const files = await filesOf(choice);
  const weights = await browserStorage("weights").catch(() => memoryStorage("weights"));
  model = await openModel({ files, name: nameOf(choice, files), device, weights, onProgress });
  const { base, threads } = model;
  const { architecture, layerCount: layers } = base.config;
  say({ kind: "opened", facts: { name: base.source.name, device, threads, architecture, layers } });
  if (file !== null) await preview(file);
}

/** Forgets what was trained, and the graphs that answer by it. */
async function forget(): Promise<void> {
  await answers?.close();
  [answers, adapter] = [null, null];
}

function opened(): PageModel {
  if (model === null) throw new Error("open a model first");
  return model;
}

const dataOf = (file: File): PageData => ({ data: filesStorage([file]) });

async function preview(file: File): Promise<void> {
  say({ kind: "rows", rows: await opened().preview(dataOf(file), {}, SHOWN_ROWS) });
}

async function train(file: File, settings: Settings): Promise<void> {
  await forget();
  const output = memoryStorage("adapter");
  training = new AbortController();
  const options: PageTrainOptions = {
    ...settings,
    ...{ alpha: 2 * settings.rank, validationFraction: 0.1, samples: 0, maxLength: 256 },
    signal: training.signal,
  };
  for await (const event of opened().train(dataOf(file), options, output)) {
    say({ kind: "event", event });
    if (event.type === "done") adapter = output;
  }
  training = null;
}

/** The same prompt to the base and to the adapter, one after the other. */
async function compare(prompt: string): Promise<void> {
  if (adapter === null) throw new Error("train first");
  const { maxPositions } = opened().base.config;
  answers ??= await opened().answers({ adapter, contextLength: Math.min(CONTEXT_TOKENS, maxPositions) });
  const request = { messages: [{ role: "user" as const, content: prompt }], maxTokens: ANSWER_TOKENS };
  for (const of of ["base", "adapter"] as const) {
    await (of === "base" ? answers.disable() : answers.enable());
    let text = "";
    say({ kind: "answer", of, text });
    for await (const piece of answers.generate(request)) {
      text += piece.text;
      say({ kind: "answer", of, text });
    }
  }
}

async function giveAdapter(): Promise<void> {
  if (adapter === null) throw new Error("train first");
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  for (const name of await adapter.list())
    files[name] = (await adapter.read(name, Number.POSITIVE_INFINITY)) as Uint8Array<ArrayBuffer>;
  say({ kind: "adapter", files });
}

function handle(request: Exclude<Request, { kind: "stop" }>): Promise<void> {
  switch (request.kind) {
    case "open":
      return open(request);
    case "preview":
      return preview(request.file);
    case "train":
      return train(request.file, request.settings);
    case "compare":
      return compare(request.prompt);
    case "adapter":
      return giveAdapter();
  }
}

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  if (data.kind === "stop") return training?.abort();
  try {
    await handle(data);
  } catch (error) {
    if (!(error instanceof LowrankError)) console.error(error);
    say({ kind: "error", message: error instanceof Error ? error.message : String(error) });
  }
  say({ kind: "done" });
});
