// What the tests run in a page, bundled with the library.
import {
  browserStorage,
  fetchModel,
  filesStorage,
  inFolder,
  memoryStorage,
  openModel,
  type PageData,
  type PageModel,
  type PageTrainOptions,
  type PreviewSpan,
  type Storage,
  type TrainEvent,
} from "../../src/browser/index.ts";

interface RunRequest {
  readonly device: "wasm" | "webgpu";
  readonly options: PageTrainOptions;
  readonly rows: Readonly<Record<string, string>>;
  readonly asked: readonly number[];
}

/** Plain numbers, as they leave a page. */
export interface PageRun {
  readonly events: readonly TrainEvent[];
  readonly preview: readonly PreviewSpan[][];
  readonly adapter: Readonly<Record<string, readonly number[]>>;
  /** Files of the model with the adapter folded in. */
  readonly model: Readonly<Record<string, readonly number[]>>;
  /** With the adapter, with it merged, and without. */
  readonly logits: readonly (readonly number[])[];
  readonly merged: readonly (readonly number[])[];
  readonly base: readonly (readonly number[])[];
}

const file = (name: string, text: string): Storage => filesStorage([new File([text], name)]);

const numbers = (rows: readonly Float32Array[]): number[][] => rows.map((row) => [...row]);

async function tiny(device: "wasm" | "webgpu" = "wasm"): Promise<PageModel> {
  const files = await fetchModel("/models/llama/", { storage: memoryStorage("model") });
  return openModel({ files, name: "tiny", device, threads: 1, assets: "/engine/" });
}

async function contentOf(storage: Storage): Promise<Record<string, number[]>> {
  const content: Record<string, number[]> = {};
  for (const name of await storage.list()) content[name] = [...(await storage.read(name))];
  return content;
}

/** Trains, saves, merges, answers. */
async function run({ device, options, rows, asked }: RunRequest): Promise<PageRun> {
  const model = await tiny(device);
  const [data = "", testData = ""] = Object.values(rows);
  const given: PageData = { data: file("rows.jsonl", data), testData: file("test.jsonl", testData) };
  const output = memoryStorage("output");
  const place = inFolder(output, "adapter");
  const preview = await model.preview(given, options, 2);
  const events: TrainEvent[] = [];
  for await (const event of model.train(given, options, place)) events.push(event);
  const adapter = await contentOf(place);
  const whole = memoryStorage("merged");
  await model.merge(place, whole);
  const answers = await model.answers({ adapter: place });
  const logits = numbers(await answers.logits(asked));
  await answers.merge();
  const merged = numbers(await answers.logits(asked));
  await answers.disable();
  const base = numbers(await answers.logits(asked));
  await answers.close();
  await model.close();
  return { events, preview: [...preview], adapter, model: await contentOf(whole), logits, merged, base };
}

/** Fetches a model into the browser's own file system and opens it. */
async function fetched(url: string): Promise<{ files: string[]; requests: number; converted: boolean }> {
  const requests: string[] = [];
  const { fetch } = globalThis;
  globalThis.fetch = (...args: Parameters<typeof fetch>) => {
    if (String(args[0]).includes("/models/")) requests.push(String(args[0]));
    return fetch(...args);
  };
  let converted = false;
  try {
    const files = await fetchModel(url, { storage: await browserStorage("lowrank/models/sharded") });
    const weights = await browserStorage("lowrank/weights");
    const onProgress = ({ what }: { what: string }): void => {
      converted ||= what.includes("converting");
    };
    const model = await openModel({ files, weights, onProgress, threads: 1, assets: "/engine/" });
    await model.close();
    return { files: (await files.list()).sort(), requests: requests.length, converted };
  } finally {
    globalThis.fetch = fetch;
  }
}

/** Messages of everything that is refused. */
async function refused(): Promise<string[]> {
  const messages: string[] = [];
  const trying = async (work: () => Promise<unknown>): Promise<void> => {
    await work().then(
      () => messages.push("nothing"),
      (error: Error) => messages.push(error.message),
    );
  };
  const model = await tiny();
  const rows = { data: file("rows.jsonl", '{"prompt":"a","completion":"b"}') };
  const drain = async (data: PageData, options: object): Promise<void> => {
    for await (const _ of model.train(data, options, memoryStorage()));
  };
  await trying(() => drain(rows, { output: "runs", profile: true }));
  await trying(() => drain({ data: file("rows.jsonl", "no JSON") }, {}));
  await trying(() => tiny("cpu" as "wasm"));
  await trying(() => openModel({ files: file("notes.txt", "nothing"), name: "model" }));
  await trying(() => file("notes.txt", "nothing").write("notes.txt", "more"));
  await model.close();
  return messages;
}

/** What the tests call. */
export interface PageScript {
  inPage: { run: typeof run; fetched: typeof fetched; refused: typeof refused };
}
(globalThis as unknown as PageScript).inPage = { run, fetched, refused };
