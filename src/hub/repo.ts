import { copyFile, rename, rm, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import {
  datasetInfo,
  getHFHubCachePath,
  getRepoFolderName,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from "@huggingface/hub";
import { FormatError, LowrankError, NetworkError, NotFoundError } from "../errors.ts";
import { readBytes, storing, writeFileAtomic } from "../io/disk.ts";
import { type ByteSource, downloadTo, exists } from "../io/download.ts";
import { makeFolder } from "../io/folder.ts";
import { isSafePath } from "../io/inside.ts";
import { kindOf } from "../io/json.ts";
import type { OnProgress } from "../io/progress.ts";
import { temporaryPath } from "../io/temporary.ts";
import {
  bodyOf,
  type HubAccess,
  hubApiFetch,
  hubFetch,
  hubUrlOf,
  isTooSlow,
  totalTimeoutOf,
} from "./http.ts";

/** Where from, where to, and who hears of it. */
export interface HubOptions extends HubAccess {
  /** Branch, tag or commit; default "main". */
  readonly revision?: string | undefined;
  /** Use the cache alone; `HF_HUB_OFFLINE` says so too. */
  readonly offline?: boolean | undefined;
  /** Hub cache in Hugging Face's layout; default `HF_HUB_CACHE`, else `HF_HOME`/hub, … (shared with Python). */
  readonly hubCacheDir?: string | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** A model or data set on the Hub. */
export interface HubRepo {
  readonly type: "model" | "dataset";
  /** `org/name`. */
  readonly name: string;
  readonly revision: string;
}

/** A repository at one commit: its files, fetched on demand into the cache. */
export interface RemoteSnapshot {
  /** Folder in the cache, `…/snapshots/<commit>`. */
  readonly folder: string;
  readonly files: ReadonlyMap<string, ListFileEntry>;
  /** Fetches files that the cache lacks. @throws FormatError for one that is larger than `limitBytes` */
  fetch(paths: readonly string[], limitBytes?: number): Promise<void>;
  /** Makes the revision name lead to this commit, so that the cache finds it again. Call when all is there. */
  finish(): Promise<void>;
}

/** The cache alone may be used. */
export function isOffline(options: HubOptions): boolean {
  return options.offline === true || /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? "");
}

/** Folder of a repository in the cache: `models--org--name`. */
export function repoFolder(repo: HubRepo, options: HubOptions): string {
  return join(options.hubCacheDir ?? getHFHubCachePath(), getRepoFolderName(repo));
}

const COMMIT = /^[0-9a-f]{40}$/;
const REF_LIMIT_BYTES = 4096;

/** The snapshot that the cache holds for a revision, complete or not; null if none. */
export async function cachedSnapshot(repo: HubRepo, options: HubOptions): Promise<string | null> {
  const folder = repoFolder(repo, options);
  const commit = COMMIT.test(repo.revision) ? repo.revision : await readRef(folder, repo.revision);
  const snapshot = commit === null ? null : join(folder, "snapshots", commit);
  return snapshot !== null && (await exists(snapshot)) ? snapshot : null;
}

async function readRef(folder: string, revision: string): Promise<string | null> {
  const bytes = await readBytes(join(folder, "refs", revision), REF_LIMIT_BYTES).catch(
    () => new Uint8Array(),
  );
  const text = new TextDecoder().decode(bytes).trim();
  return COMMIT.test(text) ? text : null;
}

/** Asks the Hub for a repository's commit and files.
 *  @throws NetworkError, NotFoundError, LowrankError ("access"). */
export async function openRemote(repo: HubRepo, options: HubOptions): Promise<RemoteSnapshot> {
  const { commit, files } = await listing(repo, options);
  const folder = repoFolder(repo, options);
  return {
    folder: join(folder, "snapshots", commit),
    files,
    fetch: async (paths, limitBytes = Infinity) => {
      for (const path of paths) {
        const entry = files.get(path);
        if (entry === undefined) throw new NotFoundError(`${repo.name} has no file ${path}`);
        if (entry.size > limitBytes)
          throw new FormatError(
            `${repo.name}: ${path}`,
            `has ${entry.size} bytes, the limit for such a file is ${limitBytes}`,
          );
        await fetchFile(repo, commit, entry, options);
      }
    },
    finish: async () => {
      if (repo.revision !== commit) await writeFileAtomic(join(folder, "refs", repo.revision), commit);
    },
  };
}

/** The client library reads answers as the Hub's, whoever gave them: what it throws on others is translated. */
async function listing(
  repo: HubRepo,
  options: HubOptions,
): Promise<{ commit: string; files: Map<string, ListFileEntry> }> {
  const hub = { hubUrl: hubUrlOf(options), fetch: hubApiFetch(repo.name, options) };
  const files = new Map<string, ListFileEntry>();
  const seen = new Set<string>();
  try {
    const commit = await commitOf(repo, hub);
    const paged = { ...hub, fetch: pageGuard(hub.fetch, repo.name, seen, totalTimeoutOf(options)) };
    for await (const entry of listFiles({ ...paged, repo, recursive: true, revision: commit })) {
      seen.add(entry.path);
      if (entry.type === "file" && isSafePath(entry.path)) files.set(entry.path, entry);
    }
    return { commit, files };
  } catch (error) {
    if (error instanceof LowrankError || options.signal?.aborted) throw error;
    throw new NetworkError(`${hub.hubUrl} does not answer like the Hub (${(error as Error).message})`, {
      cause: error,
    });
  }
}

const PAGE_LIMIT = 1000;
const ENTRY_LIMIT = 1_000_000;

/** `get` for the pages of a list, which must come to an end. @throws NetworkError */
function pageGuard(
  get: typeof fetch,
  name: string,
  seen: ReadonlySet<string>,
  totalMs: number,
): typeof fetch {
  const startMs = performance.now();
  let pages = 0;
  let seenBefore = -1;
  return async (input, init) => {
    const endless = (why: string): NetworkError =>
      new NetworkError(`the list of the files of ${name} does not end: ${why}`);
    if (pages > 0 && seen.size === seenBefore)
      throw endless("a page holds nothing that those before did not");
    if (pages === PAGE_LIMIT || seen.size > ENTRY_LIMIT)
      throw endless(`${pages} pages, ${seen.size} entries`);
    if (performance.now() - startMs > totalMs) throw endless(`it takes longer than ${totalMs / 1000} s`);
    pages++;
    seenBefore = seen.size;
    return get(input, init);
  };
}

async function commitOf(repo: HubRepo, hub: { hubUrl: string; fetch: typeof fetch }): Promise<string> {
  const ask = { ...hub, name: repo.name, revision: repo.revision, additionalFields: ["sha" as const] };
  const { sha } = repo.type === "model" ? await modelInfo(ask) : await datasetInfo(ask);
  if (typeof sha !== "string" || !COMMIT.test(sha))
    throw new FormatError(`${hub.hubUrl}/${repo.name}`, `${kindOf(sha)} is not a commit`);
  return sha;
}

async function fetchFile(
  repo: HubRepo,
  commit: string,
  entry: ListFileEntry,
  options: HubOptions,
): Promise<void> {
  const folder = repoFolder(repo, options);
  const pointer = join(folder, "snapshots", commit, entry.path);
  if (await exists(pointer)) return;
  const oid = entry.lfs?.oid ?? (entry.xetHash && `xet-${entry.xetHash}`) ?? entry.oid;
  const where = `${repo.name}: ${entry.path}`;
  if (typeof oid !== "string" || !/^(xet-)?[0-9a-f]{40,64}$/.test(oid))
    throw new FormatError(where, `the Hub gave the content id ${kindOf(oid)}`);
  const size: unknown = entry.lfs?.size ?? entry.size;
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw new FormatError(where, `the Hub gave the size ${kindOf(size)}`);
  const blob = join(folder, "blobs", oid);
  if (!(await exists(blob))) await downloadWithRetries(blob, repo, commit, entry, options);
  await storing(pointer, () => link(blob, pointer));
}

const ATTEMPTS = 4;

/** A connection that breaks is taken up again where it broke, a few times, before the caller hears of it. */
async function downloadWithRetries(
  blob: string,
  repo: HubRepo,
  commit: string,
  entry: ListFileEntry,
  options: HubOptions,
): Promise<void> {
  const isPlain = entry.lfs === undefined && entry.xetHash === undefined;
  const known = {
    what: `${repo.name}: ${entry.path}`,
    sizeBytes: entry.lfs?.size ?? entry.size,
    sha256: entry.lfs?.oid,
    gitOid: isPlain ? entry.oid : undefined,
  };
  const source = (fromByte: number): Promise<ByteSource> =>
    openBytes(repo, commit, entry.path, fromByte, options);
  for (let attempt = 1; ; attempt++)
    try {
      return await downloadTo(blob, source, {
        ...known,
        onProgress: options.onProgress,
        signal: options.signal,
      });
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      if (attempt === ATTEMPTS || isTooSlow(error))
        throw new NetworkError(
          `${known.what}: ${error.message}; what arrived is kept, run again to continue`,
          {
            cause: error,
          },
        );
      await new Promise((resolve) => setTimeout(resolve, (options.retryMs ?? 500) * 2 ** (attempt - 1)));
      options.signal?.throwIfAborted();
    }
}

/** Bytes of a file by its plain address: the Hub serves ranges there for every kind of storage. */
async function openBytes(
  repo: HubRepo,
  commit: string,
  path: string,
  fromByte: number,
  options: HubOptions,
): Promise<ByteSource> {
  const kind = repo.type === "dataset" ? "datasets/" : "";
  const file = path.split("/").map(encodeURIComponent).join("/");
  const url = `${hubUrlOf(options)}/${kind}${repo.name}/resolve/${commit}/${file}`;
  const access = { ...options, answerTimeoutMs: options.answerTimeoutMs ?? 30_000 };
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (fromByte > 0) headers.range = `bytes=${fromByte}-`;
  const response = await hubFetch(repo.name, access)(url, { headers });
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  return {
    fromByte: response.status === 206 ? Number(start ?? fromByte) : 0,
    chunks: bodyOf(response, options),
  };
}

/** `pointer` leads to `blob`: a relative link, or a copy where the system allows no links. */
async function link(blob: string, pointer: string): Promise<void> {
  await makeFolder(dirname(pointer));
  const temporary = temporaryPath(pointer);
  try {
    await symlink(relative(dirname(pointer), blob), temporary).catch(() => copyFile(blob, temporary));
    await rename(temporary, pointer);
  } catch (error) {
    await rm(temporary, { force: true });
    if (!(await exists(pointer))) throw error;
  }
}

/** The error for what the cache lacks while offline. */
export function offlineError(repo: HubRepo, what: string, options: HubOptions): LowrankError {
  const kind = repo.type === "dataset" ? "datasets/" : "";
  return new NetworkError(
    `offline: would fetch ${what} from ${hubUrlOf(options)}/${kind}${repo.name} (revision ${repo.revision}), ` +
      `which is not in the cache ${repoFolder(repo, options)}; run once with network, or give a local path`,
  );
}
