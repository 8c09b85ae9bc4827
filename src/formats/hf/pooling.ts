import { join } from "node:path";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { readBytesIfThere } from "../../io/disk.ts";
import { isSafePath } from "../../io/inside.ts";
import { isObject, parseJsonObject } from "../../io/json.ts";

/** How token vectors become one vector of a text. */
export type PoolingMode = "mean" | "mean_sqrt_len" | "weightedmean" | "cls" | "lasttoken";

/** What sentence-transformers writes beside a model of how its vectors are made. */
export interface Pooling {
  readonly mode: PoolingMode;
  /** Vectors have length 1. */
  readonly isNormalized: boolean;
  /** Tokens that it was trained for, special ones included; null: not said. */
  readonly maxLength: number | null;
}

const MODULES_FILE = "modules.json";
const SETTINGS_FILE = "sentence_bert_config.json";
const POOLING_FOLDER = "1_Pooling";

/** Files of a repository that say so. */
export const POOLING_FILES: readonly string[] = [
  MODULES_FILE,
  SETTINGS_FILE,
  `${POOLING_FOLDER}/config.json`,
];

type Json = Readonly<Record<string, unknown>>;

/** The keys of 1_Pooling/config.json, each true or false; also as the word of its newer key "pooling_mode". */
const KEYS: Readonly<Record<string, PoolingMode | null>> = {
  pooling_mode_cls_token: "cls",
  pooling_mode_mean_tokens: "mean",
  pooling_mode_max_tokens: null,
  pooling_mode_mean_sqrt_len_tokens: "mean_sqrt_len",
  pooling_mode_weightedmean_tokens: "weightedmean",
  pooling_mode_lasttoken: "lasttoken",
};
const MODES: readonly unknown[] = Object.values(KEYS).filter((mode) => mode !== null);

/** The pooling of a model's folder; null where it says nothing.
 *  @throws FormatError; UnsupportedError for modules and kinds of pooling that are none of these */
export async function readPooling(folder: string): Promise<Pooling | null> {
  const modules = await moduleList(folder);
  const poolingFolder = modules === null ? POOLING_FOLDER : modules.pooling;
  if (poolingFolder === null) return null;
  const config = await readJson(join(folder, poolingFolder, "config.json"));
  if (config === null) {
    if (modules === null) return null;
    throw new FormatError(
      join(folder, MODULES_FILE),
      `names ${poolingFolder}, whose config.json is not there`,
    );
  }
  const settings = await readJson(join(folder, SETTINGS_FILE));
  const length = settings?.max_seq_length;
  return {
    mode: modeOf(config, join(folder, poolingFolder, "config.json")),
    isNormalized: modules?.isNormalized ?? false,
    maxLength: Number.isSafeInteger(length) && (length as number) > 0 ? (length as number) : null,
  };
}

async function readJson(path: string): Promise<Json | null> {
  const bytes = await readBytesIfThere(path);
  return bytes === null ? null : parseJsonObject(bytes, path);
}

interface ModuleList {
  /** Folder of the pooling's configuration; null: there is none. */
  readonly pooling: string | null;
  readonly isNormalized: boolean;
}

async function moduleList(folder: string): Promise<ModuleList | null> {
  const path = join(folder, MODULES_FILE);
  const bytes = await readBytesIfThere(path);
  if (bytes === null) return null;
  let pooling: string | null = null;
  let isNormalized = false;
  for (const one of listIn(bytes, path)) {
    const kind = String(one.type).split(".").at(-1);
    if (kind === "Pooling") pooling = String(one.path);
    else if (kind === "Normalize") isNormalized = true;
    else if (kind !== "Transformer")
      throw new UnsupportedError(`${path}: modules of kind ${JSON.stringify(one.type)} are not supported`);
  }
  if (pooling !== null && !isSafePath(pooling))
    throw new FormatError(path, `${JSON.stringify(pooling)} is no folder of the model`);
  return { pooling, isNormalized };
}

function listIn(bytes: Uint8Array, path: string): readonly Json[] {
  let list: unknown = null;
  try {
    list = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // Said below.
  }
  if (Array.isArray(list) && list.every(isObject)) return list as readonly Json[];
  throw new FormatError(path, "expected a list of modules");
}

function modeOf(config: Json, path: string): PoolingMode {
  const word = config.pooling_mode;
  const asked = typeof word === "string" ? [word] : Object.keys(KEYS).filter((key) => config[key] === true);
  const [first] = asked;
  const mode = typeof word === "string" ? word : KEYS[first ?? ""];
  if (asked.length === 1 && MODES.includes(mode)) return mode as PoolingMode;
  throw new UnsupportedError(
    `${path}: pooling by ${asked.join(" and ") || "nothing"} is not supported; one of ${MODES.join(", ")} is`,
  );
}
