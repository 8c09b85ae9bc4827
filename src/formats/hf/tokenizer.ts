import { FormatError, NotFoundError } from "../../errors.ts";
import { isObject, kindOf, parseJsonObject } from "../../io/json.ts";
import { TOKENIZER_FILE_BYTES } from "../../io/limits.ts";
import { readIfThere, type Storage } from "../../io/storage/storage.ts";
import type { TokenizerSource } from "../model.ts";
import { checkTokenizerJson, isTokenText } from "./tokenizer-check.ts";

type Json = Readonly<Record<string, unknown>>;

const TOKENIZER_FILE = "tokenizer.json";
const CONFIG_FILE = "tokenizer_config.json";
const TEMPLATE_FILE = "chat_template.jinja";

/** A JSON object that may be missing: `{}` then. */
export async function readOptionalJson(folder: Storage, name: string): Promise<Json> {
  const bytes = await readIfThere(folder, name);
  return bytes ? parseJsonObject(bytes, folder.pathOf(name)) : {};
}

/** Text of a special token: a string, or an object with `content`. */
function tokenText(value: unknown): string | null {
  const text = isObject(value) ? value.content : value;
  return isTokenText(text) ? text : null;
}

/** The template of tokenizer_config.json: one string, or a list of named ones, of which "default". */
function templateOf(value: unknown, where: string): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "string") return value;
  if (!Array.isArray(value))
    throw new FormatError(where, `chat_template: expected a string or a list, got ${kindOf(value)}`);
  const named = value.filter(isObject).find(({ name }) => name === "default") ?? value.filter(isObject)[0];
  return typeof named?.template === "string" ? named.template : null;
}

/** The chat template of a folder: chat_template.jinja, else that of tokenizer_config.json; null without one. @throws FormatError */
export async function readChatTemplate(folder: Storage, tokenizerConfig?: Json): Promise<string | null> {
  const file = await readIfThere(folder, TEMPLATE_FILE);
  if (!file) {
    const config = tokenizerConfig ?? (await readOptionalJson(folder, CONFIG_FILE));
    return templateOf(config.chat_template, folder.pathOf(CONFIG_FILE));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(file);
  } catch (error) {
    throw new FormatError(folder.pathOf(TEMPLATE_FILE), "is not UTF-8 text", { cause: error });
  }
}

/** Post-processors of a tokenizer.json, those inside a Sequence included. */
function postProcessors(value: unknown): Json[] {
  if (!isObject(value)) return [];
  return Array.isArray(value.processors) ? value.processors.flatMap(postProcessors) : [value];
}

/** The post-processor puts `bos` in front of a single sequence. */
function startsWithToken(tokenizerJson: Json, bos: string): boolean {
  return postProcessors(tokenizerJson.post_processor).some(({ single }) => {
    const first = Array.isArray(single) ? single[0] : undefined;
    return isObject(first) && isObject(first.SpecialToken) && first.SpecialToken.id === bos;
  });
}

function addsBos(tokenizerJson: Json, config: Json, bos: string | null): boolean {
  if (bos === null) return false;
  return typeof config.add_bos_token === "boolean"
    ? config.add_bos_token
    : startsWithToken(tokenizerJson, bos);
}

async function readTokenizerJson(folder: Storage): Promise<Json> {
  const path = folder.pathOf(TOKENIZER_FILE);
  try {
    const json = parseJsonObject(await folder.read(TOKENIZER_FILE, TOKENIZER_FILE_BYTES), path);
    checkTokenizerJson(json, path);
    return json;
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError(
      `${path}: no such file; a folder with tokenizer.model or vocab.json alone needs converting (transformers: AutoTokenizer … save_pretrained)`,
    );
  }
}

/** Tokenizer files of a Hugging Face folder: tokenizer.json (required), tokenizer_config.json, special_tokens_map.json,
 *  chat_template.jinja. @throws NotFoundError, FormatError. */
export async function readHfTokenizer(folder: Storage): Promise<TokenizerSource> {
  const tokenizerJson = await readTokenizerJson(folder);
  const tokenizerConfig = await readOptionalJson(folder, CONFIG_FILE);
  const map = await readOptionalJson(folder, "special_tokens_map.json");
  const special = (key: string): string | null => tokenText(tokenizerConfig[key]) ?? tokenText(map[key]);
  const bosToken = special("bos_token");
  return {
    tokenizerJson,
    tokenizerConfig,
    chatTemplate: await readChatTemplate(folder, tokenizerConfig),
    bosToken,
    eosToken: special("eos_token"),
    padToken: special("pad_token"),
    unkToken: special("unk_token"),
    addBos: addsBos(tokenizerJson, tokenizerConfig, bosToken),
  };
}
