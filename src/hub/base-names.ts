import { realpath } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { ModelSource } from "../formats/model.ts";
import { publicModelName } from "./known-names.ts";
import { parseHubId } from "./models.ts";

/** What names a model that is open. */
export type NamedModel = Pick<ModelSource, "name" | "path" | "hfConfig">;

/** "same" by Hub id (also of an alias) or path, and for a copy on disk by its name; "other" where both are Hub ids or both are
 *  on disk, and differ; "doubtful" where one has a Hub id and the other is a copy on disk under a name of its own, or the same
 *  name under another account; "unknown" where the adapter names no Hub id, and no path that is there. */
export type BaseComparison = "same" | "other" | "doubtful" | "unknown";

/** Whether a model is the one that an adapter names as its base. */
export async function compareBase(adapterBase: string, model: NamedModel): Promise<BaseComparison> {
  const wanted = publicModelName(adapterBase);
  const own = [model.name, model.hfConfig._name_or_path];
  const names = own.filter((n): n is string => typeof n === "string" && n !== "").map(publicModelName);
  if (names.some((name) => plainName(name) === plainName(wanted))) return "same";
  const [there, here] = [await pathOf(adapterBase), await pathOf(model.path)];
  if (there !== null && there === here) return "same";
  const isAlike = [...names, model.path].some((name) => areAlike(name, wanted));
  if (isAlike && [...names, wanted].some(isCopy)) return "same";
  const isOnDisk = here !== null && (await pathOf(model.name)) === here;
  if (isOnDisk && isAlike) return "same";
  if (there !== null) return isOnDisk ? "other" : "doubtful";
  if (parseHubId(wanted) === null) return isAlike ? "same" : "unknown";
  return isOnDisk || isAlike ? "doubtful" : "other";
}

/** Without a revision; the Hub takes no account of case. */
function plainName(name: string): string {
  return (parseHubId(name)?.name ?? name).toLowerCase();
}

/** An account whose models are copies of others under their own names, also quantized ones. */
const isCopy = (name: string): boolean => /^unsloth\//i.test(parseHubId(name)?.name ?? "");

/** What conversions add to a name: SmolLM2-135M-Instruct.Q4_1.gguf, Llama-3.2-1B-4bit. */
const CONVERSION = /^([-._](i?q\d\w*|bf16|fp?16|fp?32|hf|gguf|mlx|[48]-?bit|bnb|unsloth))+$/;

/** The last parts of two names are the same, or one is a conversion of the other. */
function areAlike(a: string, b: string): boolean {
  const stem = (name: string): string =>
    basename(plainName(name))
      .replace(/\.gguf$/, "")
      .replaceAll(" ", "-");
  const [short, long] = [stem(a), stem(b)].sort((x, y) => x.length - y.length) as [string, string];
  return (
    short !== "" && long.startsWith(short) && (long === short || CONVERSION.test(long.slice(short.length)))
  );
}

/** The real path; null if there is none. */
function pathOf(path: string): Promise<string | null> {
  return realpath(resolve(path)).catch(() => null);
}
