import { stat } from "node:fs/promises";
import { cardDatasets } from "../../formats/hf/card.ts";
import { statedRank } from "../../formats/peft/stated-rank.ts";
import type { ActiveAdapter } from "../../generate/loaded.ts";
import { bytesBelow } from "../../io/folder.ts";
import { readRunFacts, runFolderOf } from "./run-files.ts";
import type { AdapterInfo } from "./shapes.ts";

/** What is known of loaded adapters. Files are read once for each that is loaded: an engine makes a new object for a new one. */
export function createAdapterReader(): (
  adapters: Readonly<Record<string, ActiveAdapter>>,
) => Promise<AdapterInfo[]> {
  const seen = new Map<string, { readonly key: string; readonly info: AdapterInfo }>();
  return async (adapters) => {
    for (const name of seen.keys()) if (!Object.hasOwn(adapters, name)) seen.delete(name);
    const infos: AdapterInfo[] = [];
    for (const [name, adapter] of Object.entries(adapters)) {
      const key = await keyOf(adapter);
      const before = seen.get(name);
      const info = before?.key === key ? before.info : await describe(name, adapter);
      seen.set(name, { key, info });
      infos.push(info);
    }
    return infos;
  };
}

/** Changes when an adapter is written anew, or its run ends. */
async function keyOf({ path, parameters }: ActiveAdapter): Promise<string> {
  const times = [path, runFolderOf(path)].map((one) =>
    stat(one)
      .then(({ mtimeMs }) => mtimeMs)
      .catch(() => 0),
  );
  return [path, parameters, ...(await Promise.all(times))].join(" ");
}

async function describe(name: string, adapter: ActiveAdapter): Promise<AdapterInfo> {
  const { path, methods, config, parameters } = adapter;
  const run = await readRunFacts(runFolderOf(path));
  const datasets = await cardDatasets(path);
  const trainedOn = run?.data ?? (datasets.length > 0 ? datasets.join(", ") : null);
  return {
    name,
    methods: [...methods],
    rank: statedRank(config),
    parameters,
    sizeBytes: await sizeOf(path),
    trainedOn,
    examples: run?.examples ?? null,
    lossBefore: run?.lossBefore ?? null,
    lossAfter: run?.lossAfter ?? null,
  };
}

async function sizeOf(path: string): Promise<number | null> {
  const info = await stat(path).catch(() => null);
  if (info === null) return null;
  return info.isDirectory() ? bytesBelow(path).catch(() => null) : info.size;
}
