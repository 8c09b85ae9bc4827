import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeStream } from "node:stream/web";
import { Busboy, type BusboyFileStream, type BusboyHeaders } from "@fastify/busboy";
import { storing, syncFolder, writeAll } from "../../io/disk.ts";
import { temporaryPath } from "../../io/temporary.ts";
import { refusal } from "../body.ts";
import { HttpError } from "../errors.ts";
import type { DataFolder } from "./data-folder.ts";
import type { FileRow } from "./file-store.ts";
import { newId } from "./paging.ts";
import { checkedForm, type Form, PURPOSE } from "./upload-form.ts";

/** As OpenAI's. */
export const MAX_FILE_BYTES: number = 512 * 2 ** 20;

const MAX_FIELD_BYTES = 1000;
const MAX_PARTS = 8;
const MAX_NAME = 255;
/** Longest wait for the next bytes of a client. */
const IDLE_MS = 60_000;
/** Of some damaged forms the parser takes no more, and never says so. */
const STUCK_MS = 5000;

/** Writes the file of a multipart form to disk as it comes, and makes it known when all of it is there: before, it has a temporary name.
 *  @throws HttpError 400, 413, 415; LowrankError ("storage") */
export async function receiveFile(request: Request, folder: DataFolder, maxBytes: number): Promise<FileRow> {
  const id = newId("file");
  const temporary = temporaryPath(join(folder.filesPath, id));
  try {
    const form = await storing(folder.filesPath, () => receiveForm(request, temporary, maxBytes));
    const { filename, extension, bytes, lifetimeSeconds } = checkedForm(form);
    const path = folder.filePath({ id, extension });
    await storing(path, async () => {
      await rename(temporary, path);
      await syncFolder(folder.filesPath);
    });
    return folder.files.add({ id, filename, extension, purpose: PURPOSE, bytes }, lifetimeSeconds);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function receiveForm(request: Request, temporary: string, maxBytes: number): Promise<Form> {
  const form: Form = { fields: new Map(), file: null };
  const parser = formParser(request, maxBytes);
  const stop = new AbortController();
  let current: BusboyFileStream | null = null;
  let writing: Promise<void> = Promise.resolve();
  // The parser and its parts may say that a form is cut off after it was given up.
  parser.on("error", () => undefined);
  parser.on("field", (name, value) => form.fields.set(nameOf(name), value));
  parser.on("file", (name, stream, filename) => {
    stream.on("error", () => undefined);
    if (name !== "file")
      return stop.abort(refusal([{ where: "file", message: `the form has the file ${nameOf(name)}` }]));
    current = stream;
    writing = writeStream(stream, temporary, maxBytes).then((bytes) => {
      form.file = { filename: shownName(filename), bytes };
    });
    // The rest of the form is not read where the file cannot be kept.
    writing.catch((error) => stop.abort(error));
  });
  for (const limit of ["partsLimit", "filesLimit", "fieldsLimit"] as const)
    parser.on(limit, () =>
      stop.abort(refusal([{ where: "the body", message: "has more parts than file and purpose" }])),
    );
  try {
    await pipeline(timed(request.body as unknown as NodeStream<Uint8Array>, stop), parser, {
      signal: stop.signal,
    });
    await writing;
  } catch (error) {
    // A client that left does not end the file's own stream.
    (current as BusboyFileStream | null)?.destroy(error as Error);
    await writing.catch(() => undefined);
    throw malformed(stop.signal.aborted ? stop.signal.reason : error);
  } finally {
    stop.abort();
  }
  return form;
}

/** The bytes of a body; stops where its client sends nothing, or nobody takes them. */
async function* timed(body: NodeStream<Uint8Array>, stop: AbortController): AsyncGenerator<Uint8Array> {
  let timer: NodeJS.Timeout | undefined;
  const within = (ms: number, error: HttpError): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(error), ms);
  };
  stop.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  const stuck = new HttpError(400, "invalid_form", "the form cannot be read: it goes on after its end");
  const idle = new HttpError(408, "request_timeout", `nothing came for ${IDLE_MS / 1000} s`);
  within(IDLE_MS, idle);
  for await (const bytes of body) {
    within(STUCK_MS, stuck);
    yield bytes;
    within(IDLE_MS, idle);
  }
  within(STUCK_MS, stuck);
}

function formParser(request: Request, maxBytes: number): InstanceType<typeof Busboy> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^multipart\/form-data\s*;/i.test(type) || request.body === null)
    throw new HttpError(415, "unsupported_media_type", "expected a form: content-type multipart/form-data");
  try {
    return new Busboy({
      headers: { "content-type": type } as BusboyHeaders,
      limits: {
        files: 1,
        fields: MAX_PARTS,
        parts: MAX_PARTS,
        fieldSize: MAX_FIELD_BYTES,
        fileSize: maxBytes + 1,
      },
    });
  } catch (error) {
    throw malformed(error);
  }
}

/** A part of a damaged form may have none, whatever the parser's types say. */
function nameOf(name: string | undefined): string {
  return (name ?? "a part without a name").slice(0, MAX_NAME);
}

/** Bytes written, and safe on disk. */
async function writeStream(stream: BusboyFileStream, path: string, maxBytes: number): Promise<number> {
  const file: FileHandle = await open(path, "wx", 0o600);
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new HttpError(413, "file_too_large", `the file is larger than ${maxBytes} bytes, the limit`, {
          param: "file",
        });
      await writeAll(file, chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return bytes;
}

function malformed(error: unknown): unknown {
  if (error instanceof HttpError || (error as NodeJS.ErrnoException).syscall !== undefined) return error;
  const message = `the form cannot be read: ${(error as Error).message}`;
  return new HttpError(400, "invalid_form", message, { cause: error });
}

/** Of a name that a client gave, what may be shown: no path, nothing that steers a terminal. It never names a file on disk. */
function shownName(name: string | undefined): string {
  const shown = basename((name ?? "").replaceAll("\\", "/")).replace(/\p{C}/gu, "");
  return shown.slice(-MAX_NAME) || "file";
}
