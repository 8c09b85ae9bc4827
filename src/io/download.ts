import { createHash } from "node:crypto";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { FormatError, NetworkError } from "../errors.ts";
import { storing, writeAll } from "./disk.ts";
import { makeFolder } from "./folder.ts";
import type { OnProgress } from "./progress.ts";
import { openRegular, readError, systemErrorCode } from "./regular-file.ts";
import { abandonedPaths, temporaryPath } from "./temporary.ts";

/** Bytes of a file from `fromByte` on. A source that cannot skip answers with `fromByte: 0`. */
export interface ByteSource {
  readonly fromByte: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** What is known of the file, and who wants to hear of it. */
export interface DownloadOptions {
  /** Name in progress and errors. */
  readonly what: string;
  readonly sizeBytes: number;
  readonly sha256?: string | undefined;
  /** Git's blob id: sha1 of "blob <size>\0" and the content. */
  readonly gitOid?: string | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Writes a file from a source of bytes: to a `.partial` name, fsync, size and hash verified, renamed. What arrived
 *  before a broken connection is kept and continued by the next call. Two processes that fetch the same file write
 *  to names of their own; the first to finish wins.
 *  @throws NetworkError if the source ends early; FormatError if size or hash differ (what arrived is discarded);
 *  LowrankError ("storage") if the disk does not take it. */
export async function downloadTo(
  path: string,
  openAt: (fromByte: number) => Promise<ByteSource>,
  options: DownloadOptions,
): Promise<void> {
  await storing(path, async () => {
    await makeFolder(dirname(path));
    const partial = await claimPartial(path);
    try {
      await fill(partial, openAt, options);
    } catch (error) {
      await (error instanceof FormatError ? rm(partial, { force: true }) : release(partial, path));
      throw error;
    }
    await publish(partial, path, options);
  });
}

async function fill(
  partial: string,
  openAt: (fromByte: number) => Promise<ByteSource>,
  options: DownloadOptions,
): Promise<void> {
  const file = await open(partial, "r+");
  try {
    let have = (await file.stat()).size;
    if (have > options.sizeBytes) have = 0;
    if (have < options.sizeBytes) {
      const source = await openAt(have);
      have = await append(file, source, options);
    }
    await file.sync();
    if (have < options.sizeBytes)
      throw new NetworkError(
        `${options.what}: the connection ended after ${have} of ${options.sizeBytes} bytes`,
      );
  } finally {
    await file.close();
  }
}

/** Writes the source's bytes at their place; returns the file's new length. */
async function append(file: FileHandle, source: ByteSource, options: DownloadOptions): Promise<number> {
  let position = source.fromByte;
  await file.truncate(position);
  const report = (): void =>
    options.onProgress?.({ what: options.what, doneBytes: position, totalBytes: options.sizeBytes });
  report();
  for await (const chunk of source.chunks) {
    options.signal?.throwIfAborted();
    if (position + chunk.length > options.sizeBytes)
      throw new FormatError(options.what, `more than the expected ${options.sizeBytes} bytes arrived`);
    await writeAll(file, chunk, position);
    position += chunk.length;
    report();
  }
  return position;
}

async function publish(partial: string, path: string, options: DownloadOptions): Promise<void> {
  try {
    await verifyFile(partial, options);
    await rename(partial, path);
    for (const left of await abandonedPaths(path)) await rm(left, { force: true });
  } catch (error) {
    await rm(partial, { force: true });
    if (!(await exists(path))) throw error;
  }
}

/** Checks a file's content against the hashes that are known.
 *  @throws FormatError with expected and got. */
export async function verifyFile(path: string, expected: DownloadOptions): Promise<void> {
  const size = (await stat(path)).size;
  if (size !== expected.sizeBytes)
    throw new FormatError(expected.what, `expected ${expected.sizeBytes} bytes, got ${size}`);
  const checks = [
    { name: "sha256", want: expected.sha256, prefix: "" },
    { name: "sha1", want: expected.gitOid, prefix: `blob ${size}\0` },
  ];
  for (const { name, want, prefix } of checks) {
    if (want === undefined) continue;
    const got = await hashFile(path, name, prefix);
    if (got !== want) throw new FormatError(expected.what, `expected ${name} ${want}, got ${got}; discarded`);
  }
}

/** Hex digest of a file's content, after `prefix`. @throws as `openRegular` */
export async function hashFile(path: string, algorithm = "sha256", prefix = ""): Promise<string> {
  const hash = createHash(algorithm).update(prefix);
  const file = await openRegular(path);
  for await (const chunk of file.createReadStream({ highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest("hex");
}

/** System errors that say nothing of whether something is there. */
const UNKNOWN: ReadonlySet<string> = new Set(["EACCES", "EPERM", "ELOOP", "EIO"]);

/** The path leads to a file or folder. @throws FormatError where that cannot be told, as below a folder without permission */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (UNKNOWN.has(systemErrorCode(error) ?? "")) throw readError(path, error);
    return false;
  }
}

/** A partial file of this process alone: what an earlier attempt left behind (renaming is the claim, and only one
 *  process can rename a name), or a new empty one. */
async function claimPartial(path: string): Promise<string> {
  const own = temporaryPath(path);
  for (const left of await abandonedPaths(path)) if (await renamed(left, own)) return own;
  await (await open(own, "wx")).close();
  return own;
}

async function renamed(from: string, to: string): Promise<boolean> {
  return rename(from, to).then(
    () => true,
    () => false,
  );
}

/** Leaves what arrived for the next attempt; nothing where the file is there by now or nothing arrived. */
async function release(partial: string, path: string): Promise<void> {
  const size = (await stat(partial).catch(() => null))?.size ?? 0;
  if (size === 0 || (await exists(path))) await rm(partial, { force: true });
  else await renamed(partial, `${path}.partial`);
}
