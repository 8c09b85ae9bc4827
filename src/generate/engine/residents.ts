import { FormatError, NotFoundError } from "../../errors.ts";
import { resolveAdapter } from "../../hub/resolve.ts";
import { pathMark } from "../../io/folder-mark.ts";
import type { BaseModel } from "../../models/base.ts";
import { resolveOptions } from "../../models/base-model.ts";
import { withAdapterText } from "../../models/model-text.ts";
import { adapterOutline, type OpenAdapterOptions, openAdapter } from "../../peft/files/adapter.ts";
import type { OpenedAdapter } from "../../peft/files/parts.ts";
import { parameterCount } from "../../peft/parameters.ts";
import { withAdapterLabels } from "../../peft/use/adapted-base.ts";
import { type PooledAdapter, pooledAdapter } from "../../peft/use/pool.ts";
import { type ActiveAdapter, describeAdapter } from "../loaded.ts";
import type { Engine } from "./engine.ts";

/** An adapter in memory. Loaded anew it is another one, whatever its name. */
export interface Resident {
  readonly id: number;
  readonly opened: OpenedAdapter;
  /** null where it does more than to update linear modules. */
  readonly pooled: PooledAdapter | null;
  /** The base with its tokenizer and chat template; an encoder with its labels. */
  readonly base: BaseModel;
}

/** Adapters by name, of which some are in memory: those used least recently leave, and come back when they are used. */
export interface Residents {
  readonly described: Readonly<Record<string, ActiveAdapter>>;
  /** Paths that adapters in memory update row by row. */
  updatedPaths(): Iterable<string>;
  load(name: string, path: string): Promise<void>;
  /** Known by its configuration, and read when it is first used. */
  announce(name: string, path: string): Promise<void>;
  /** @throws NotFoundError */
  unload(name: string): void;
  /** Reads it again where it has left. @throws NotFoundError, and what reading throws */
  get(name: string): Promise<Resident>;
}

/** What every engine does with adapters alike. */
export function adapterCalls(
  base: BaseModel,
  residents: Residents,
): Pick<Engine, "speaking" | "loadAdapter" | "announceAdapter" | "unloadAdapter"> {
  return {
    speaking: async (adapters = {}) => {
      const [first] = Object.keys(adapters);
      return first === undefined ? base : (await residents.get(first)).base;
    },
    loadAdapter: (name, path) => residents.load(name, path),
    announceAdapter: (name, path) => residents.announce(name, path),
    unloadAdapter: async (name) => residents.unload(name),
  };
}

interface Entry {
  /** Where it lies, and is read again: never another place than at first. */
  readonly path: string;
  description: ActiveAdapter;
  resident: Resident | null;
  /** It is read again. */
  reading: Promise<Resident> | null;
  usedAt: number;
}

const MOST_TRIES = 3;

/** None yet. `most`: adapters in memory at once. */
export function openResidents(base: BaseModel, access: OpenAdapterOptions, most: number): Residents {
  const entries = new Map<string, Entry>();
  let ids = 0;
  let clock = 0;

  /** Its files as they were at one moment: of some that were written meanwhile, those before and after do not fit together. */
  const openSettled = async (path: string): Promise<Pick<Resident, "opened" | "base">> => {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const before = await pathMark(path);
      const fitted = await withAdapterLabels(base, path);
      const opened = await openAdapter(path, fitted, access);
      if ((await pathMark(path)) === before) return { opened, base: fitted };
    }
    throw new FormatError(path, "changes while it is read");
  };
  const read = async (path: string): Promise<Resident> => {
    const { opened, base: fitted } = await openSettled(path);
    const voice = opened.text === null ? fitted : withAdapterText(fitted, opened.text);
    return { id: ++ids, opened, pooled: pooledAdapter(opened, fitted.modules), base: voice };
  };
  const makeRoom = (): void => {
    const inMemory = [...entries.values()].filter((entry) => entry.resident !== null);
    inMemory.sort((a, b) => a.usedAt - b.usedAt);
    for (const entry of inMemory.slice(0, Math.max(0, inMemory.length - most))) entry.resident = null;
  };
  const entryOf = (name: string): Entry => {
    const entry = entries.get(name);
    if (!entry) throw new NotFoundError(`no adapter "${name}" is loaded`);
    return entry;
  };
  return {
    get described() {
      return Object.fromEntries([...entries].map(([name, entry]) => [name, entry.description]));
    },
    *updatedPaths() {
      for (const { resident } of entries.values()) yield* resident?.pooled?.updates.keys() ?? [];
    },
    load: async (name, asked) => {
      const path = await resolveAdapter(asked, resolveOptions(access));
      const resident = await read(path);
      entries.set(name, {
        path,
        description: describeAdapter(resident.opened),
        resident,
        reading: null,
        usedAt: ++clock,
      });
      makeRoom();
    },
    announce: async (name, path) => {
      const { config, methods, warnings } = await adapterOutline(path, await withAdapterLabels(base, path));
      const parameters = parameterCount(methods.flatMap((method) => method.trainables));
      const description = { path, methods: methods.map((m) => m.name), config, parameters, warnings };
      entries.set(name, { path, description, resident: null, reading: null, usedAt: 0 });
    },
    unload: (name) => {
      entryOf(name);
      entries.delete(name);
    },
    get: async (name) => {
      const entry = entryOf(name);
      entry.usedAt = ++clock;
      if (entry.resident === null)
        entry.reading ??= read(entry.path).finally(() => {
          entry.reading = null;
        });
      const resident = entry.resident ?? (await (entry.reading as Promise<Resident>));
      if (entry.resident === null) entry.description = describeAdapter(resident.opened);
      entry.resident = resident;
      makeRoom();
      return resident;
    },
  };
}
