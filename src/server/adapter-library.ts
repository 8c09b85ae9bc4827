import { realpath } from "node:fs/promises";
import { isAbsolute, relative, sep } from "node:path";
import { NotFoundError } from "../errors.ts";
import type { Engine } from "../generate/engine/engine.ts";
import { isSafePath } from "../io/inside.ts";
import { type FoundAdapter, fingerprintOf, scanAdapters } from "./adapter-scan.ts";
import { refusal } from "./body.ts";
import type { Log } from "./log.ts";

export { ADAPTER_NAME } from "./adapter-scan.ts";

/** Folders whose adapters a server answers with. */
export interface AdapterLibrary {
  /** Where they really are. */
  readonly folders: readonly string[];
  /** Loads an adapter below one of the folders under a name. @throws HttpError, NotFoundError, InputError */
  load(name: string, path: string): Promise<void>;
  /** Forgets an adapter, until its files change. @throws NotFoundError */
  unload(name: string): Promise<void>;
  /** Looks once for what has changed. */
  scan(): Promise<void>;
  close(): Promise<void>;
}

export interface LibraryOptions {
  readonly folders: readonly string[];
  readonly engine: Engine;
  /** A name that is taken: the base's. */
  readonly baseName: string;
  readonly log: Log;
  /** Between two looks at the folders; null: only when asked to. */
  readonly everyMs?: number | null;
}

const EVERY_MS = 2000;

/** What is known of an adapter of a folder. */
interface Known {
  /** Of the files that were loaded, or tried. */
  readonly fingerprint: string;
  readonly isLoaded: boolean;
}

/** Loads every adapter of the folders and follows their changes. Folders are looked at again and again rather than watched: that works
 *  on every file system, and what is being written is left alone until two looks agree.
 *  @throws NotFoundError for a folder that is not there */
export async function openLibrary(options: LibraryOptions): Promise<AdapterLibrary> {
  const { engine, log, everyMs = EVERY_MS } = options;
  const folders = await Promise.all(options.folders.map(realFolder));
  const known = new Map<string, Known>();
  const seen = new Map<string, string>();
  const told = new Set<string>();
  let isFirst = true;
  let work: Promise<unknown> = Promise.resolve();

  /** One change at a time. */
  const inTurn = <T>(make: () => Promise<T>): Promise<T> => {
    const result = work.then(make);
    work = result.catch(() => undefined);
    return result;
  };
  const tellOnce = (name: string, reason: string): void => {
    if (told.has(`${name}\n${reason}`)) return;
    told.add(`${name}\n${reason}`);
    log.warn("adapter_skipped", { adapter: name, reason });
  };

  const findAll = async (): Promise<Map<string, FoundAdapter>> => {
    const found = new Map<string, FoundAdapter>();
    for (const folder of folders)
      for (const adapter of await scanAdapters(folder, tellOnce)) {
        if (adapter.name === options.baseName) tellOnce(adapter.name, "the base has this name");
        else if (found.has(adapter.name)) tellOnce(adapter.path, "another adapter has this name");
        else found.set(adapter.name, adapter);
      }
    return found;
  };

  const take = async ({ name, path, fingerprint }: FoundAdapter): Promise<void> => {
    const isNew = !known.get(name)?.isLoaded;
    try {
      await engine.loadAdapter(name, path);
      known.set(name, { fingerprint, isLoaded: true });
      log.info(isNew ? "adapter_loaded" : "adapter_reloaded", { adapter: name });
    } catch (error) {
      // What was loaded before stays: a folder that is being written is tried again when its files change.
      known.set(name, { fingerprint, isLoaded: !isNew });
      log.warn("adapter_failed", { adapter: name, reason: (error as Error).message });
    }
  };

  const drop = async (name: string): Promise<void> => {
    const wasLoaded = known.get(name)?.isLoaded === true;
    known.delete(name);
    if (!wasLoaded || !Object.hasOwn(engine.adapters, name)) return;
    await engine.unloadAdapter(name);
    log.info("adapter_unloaded", { adapter: name });
  };

  const look = async (): Promise<void> => {
    const found = await findAll();
    for (const name of [...known.keys()]) if (!found.has(name)) await drop(name);
    for (const adapter of found.values()) {
      const isSettled = isFirst || seen.get(adapter.name) === adapter.fingerprint;
      seen.set(adapter.name, adapter.fingerprint);
      if (!isSettled || known.get(adapter.name)?.fingerprint === adapter.fingerprint) continue;
      const isOthers = Object.hasOwn(engine.adapters, adapter.name) && !known.get(adapter.name)?.isLoaded;
      if (isOthers) tellOnce(adapter.name, "an adapter of this name was loaded by a request");
      else await take(adapter);
    }
    for (const name of seen.keys()) if (!found.has(name)) seen.delete(name);
    isFirst = false;
  };
  /** The folders no longer decide what has this name. */
  const release = (name: string): void => {
    const before = known.get(name);
    if (before) known.set(name, { ...before, isLoaded: false });
  };
  const scan = (): Promise<void> =>
    inTurn(look).catch((error: Error) => tellOnce("the folders", error.message));

  await scan();
  const timer = everyMs === null ? null : setInterval(() => void scan(), everyMs);
  timer?.unref();
  return {
    folders,
    scan,
    load: (name, path) =>
      inTurn(async () => {
        await engine.loadAdapter(name, await pathWithin(folders, path));
        release(name);
        log.info("adapter_loaded", { adapter: name });
      }),
    unload: (name) =>
      inTurn(async () => {
        await engine.unloadAdapter(name);
        release(name);
        log.info("adapter_unloaded", { adapter: name });
      }),
    close: async () => {
      if (timer) clearInterval(timer);
      await work;
    },
  };
}

async function realFolder(folder: string): Promise<string> {
  return realpath(folder).catch(() => {
    throw new NotFoundError(`--adapters ${folder}: there is no such folder`);
  });
}

/** Where an adapter lies that a request names, below one of the folders. Of what lies elsewhere nothing is told, not even whether it is
 *  there. @throws HttpError 400, NotFoundError */
async function pathWithin(folders: readonly string[], path: string): Promise<string> {
  for (const folder of folders) {
    const name = isAbsolute(path) ? relative(folder, path).replaceAll(sep, "/") : path;
    if (!isSafePath(name)) continue;
    const isThere = await fingerprintOf(folder, name).then(
      (fingerprint) => fingerprint !== null,
      () => false,
    );
    if (isThere) return `${folder}${sep}${name.replaceAll("/", sep)}`;
  }
  if (!isAbsolute(path) && !isSafePath(path))
    throw refusal([{ where: "lora_path", message: "expected a path below a folder of --adapters" }]);
  throw new NotFoundError("lora_path: no adapter lies there, below a folder of --adapters");
}
