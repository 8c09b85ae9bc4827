import { FormatError, NetworkError, NotFoundError } from "../errors.ts";
import { INDEX_FILE, shardsOf } from "../formats/hf/shards.ts";
import { parseJsonObject } from "../io/json.ts";
import type { OnProgress } from "../io/progress.ts";
import { readIfThere, type Storage } from "../io/storage/storage.ts";

/** How a model is fetched. */
export interface FetchModelOptions {
  /** Where its files are kept: of one model, and of nothing else. What is there already, from the same address, is not asked for again. */
  readonly storage: Storage;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

const NEEDED: readonly string[] = ["config.json", "tokenizer.json"];
const OPTIONAL: readonly string[] = [
  ...["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "chat_template.jinja"],
  INDEX_FILE,
];
const WEIGHTS = "model.safetensors";

/** What was fetched, and from where: written when all of it is there. */
const RECORD_FILE = "fetched.json";

/** Fetches a model from an address: that of a folder with a Hugging Face model's files (`https://huggingface.co/<org>/<name>/resolve/main/`
 *  is one), or of a .gguf file. Nothing else is asked for. Returns the storage that holds it.
 *  @throws NotFoundError for a file that is not there, NetworkError, FormatError for one that came short, LowrankError ("storage") */
export async function fetchModel(url: string, options: FetchModelOptions): Promise<Storage> {
  const { storage } = options;
  if (await isComplete(url, storage)) return storage;
  await forget(url, storage);
  const sizes: Record<string, number> = {};
  const take = async (name: string, address: string, isNeeded: boolean): Promise<void> => {
    const size = await fetchFile(name, address, isNeeded, options);
    if (size !== null) sizes[name] = size;
  };
  if (isGguf(url)) await take(ggufName(url), url, true);
  else {
    const below = (name: string): string => `${url.replace(/\/?$/, "/")}${name}`;
    for (const name of NEEDED) await take(name, below(name), true);
    for (const name of OPTIONAL) await take(name, below(name), false);
    const shards = INDEX_FILE in sizes ? await shardsOf(storage) : [WEIGHTS];
    for (const name of shards) await take(name, below(name), true);
  }
  await storage.write(RECORD_FILE, `${JSON.stringify({ url, sizes }, null, 2)}\n`);
  return storage;
}

function isGguf(url: string): boolean {
  return /\.gguf$/i.test(url.replace(/[?#].*$/, ""));
}

function ggufName(url: string): string {
  return decodeURIComponent(
    url
      .replace(/[?#].*$/, "")
      .split("/")
      .at(-1) as string,
  );
}

async function isComplete(url: string, storage: Storage): Promise<boolean> {
  const bytes = await readIfThere(storage, RECORD_FILE);
  if (bytes === null) return false;
  const record = parseJsonObject(bytes, storage.pathOf(RECORD_FILE));
  if (record.url !== url) return false;
  for (const [name, size] of Object.entries(record.sizes as Record<string, number>))
    if ((await storage.size(name)) !== size) return false;
  return true;
}

/** Removes what another address left: its files would be taken for this one's. */
async function forget(url: string, storage: Storage): Promise<void> {
  const bytes = await readIfThere(storage, RECORD_FILE);
  if (bytes === null) return;
  const record = parseJsonObject(bytes, storage.pathOf(RECORD_FILE));
  await storage.remove(RECORD_FILE);
  if (record.url !== url)
    for (const name of Object.keys(record.sizes as Record<string, number>)) await storage.remove(name);
}

/** Bytes of the file; null for one that is not needed and not there. */
async function fetchFile(
  name: string,
  address: string,
  isNeeded: boolean,
  { storage, headers = {}, onProgress, signal }: FetchModelOptions,
): Promise<number | null> {
  const response = await fetch(address, { headers, signal: signal ?? null }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw new NetworkError(`${address} cannot be fetched: ${error instanceof Error ? error.message : error}`);
  });
  // Servers of pages answer with a page where there is no file.
  const isPage = response.headers.get("content-type")?.startsWith("text/html") ?? false;
  if (response.status === 404 || isPage) {
    await response.body?.cancel();
    if (isNeeded) throw new NotFoundError(`${address}: no such file`);
    return null;
  }
  if (!response.ok || response.body === null)
    throw new NetworkError(`${address} cannot be fetched: the server answers ${response.status}`);
  const encoded = response.headers.get("content-encoding") !== null;
  const told = encoded ? null : response.headers.get("content-length");
  const totalBytes = told === null ? null : Number(told);
  const body = response.body;
  let doneBytes = 0;
  await storage.write(name, async (write) => {
    for await (const piece of piecesOfBody(body, address, signal)) {
      await write(piece);
      doneBytes += piece.length;
      onProgress?.({ what: `fetching ${name}`, doneBytes, totalBytes });
    }
    // More than was told is a compressed file: from another origin its encoding is not told.
    if (totalBytes !== null && doneBytes < totalBytes)
      throw new FormatError(address, `${doneBytes} of ${totalBytes} bytes came`);
  });
  return doneBytes;
}

/** Not every browser iterates over streams. */
async function* piecesOfBody(
  body: ReadableStream<Uint8Array>,
  address: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        signal?.throwIfAborted();
        throw new NetworkError(`${address}: the connection broke: ${(error as Error).message}`);
      });
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
