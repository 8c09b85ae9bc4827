import { readFileSync } from "node:fs";
import type { TokenizerSource } from "../../src/formats/model.ts";
import type { Message, RenderOptions } from "../../src/text/messages.ts";

const FOLDER = new URL("../fixtures/text/", import.meta.url);

/** Parsed JSON file of test/fixtures/text. */
export function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as T;
}

/** What transformers made of one string; `literal` and `decoded` only where they differ from `ids` and the string. */
export interface EncodedString {
  readonly ids: readonly number[];
  readonly literal?: readonly number[];
  readonly decoded?: string;
}

export const TINY_TOKENIZERS = ["smollm2", "llama3", "qwen2", "llama2-legacy", "llama2"] as const;

const SPECIAL: Readonly<Record<string, Partial<TokenizerSource>>> = {
  smollm2: {
    bosToken: "<|im_start|>",
    eosToken: "<|im_end|>",
    padToken: "<|im_end|>",
    unkToken: "<|endoftext|>",
  },
  llama3: { bosToken: "<|begin_of_text|>", eosToken: "<|eot_id|>", addBos: true },
  qwen2: { eosToken: "<|im_end|>", padToken: "<|endoftext|>" },
  "llama2-legacy": { bosToken: "<s>", eosToken: "</s>", unkToken: "<unk>", addBos: true },
  llama2: { bosToken: "<s>", eosToken: "</s>", unkToken: "<unk>", addBos: true },
};

/** Source of one of the tiny tokenizers. */
export function tinySource(name: string, more: Partial<TokenizerSource> = {}): TokenizerSource {
  return {
    tokenizerJson: fixture(`${name}.tokenizer.json`),
    tokenizerConfig: {},
    chatTemplate: null,
    bosToken: null,
    eosToken: null,
    padToken: null,
    unkToken: null,
    addBos: false,
    ...SPECIAL[name],
    ...more,
  };
}

/** A conversation of chat.json. */
export interface Conversation {
  readonly messages: readonly Message[];
  readonly addGenerationPrompt?: boolean;
  readonly tools?: readonly unknown[];
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** Templates, conversations, and what transformers makes of each conversation under each template. */
export const CHAT: {
  readonly templates: Readonly<Record<string, string>>;
  /** Tiny tokenizer that goes with each template. */
  readonly tokenizers: Readonly<Record<string, string>>;
  readonly conversations: readonly Conversation[];
  readonly results: Readonly<
    Record<
      string,
      readonly { readonly text?: string; readonly ids?: readonly number[]; readonly error?: string }[]
    >
  >;
  /** Each odd string as a user message, answered by "ls -la", under "chatml". */
  readonly oddStrings: readonly EncodedString[];
} = fixture("chat.json");

/** Render options of a conversation. */
export function optionsOf({ messages: _, ...options }: Conversation): RenderOptions {
  return options;
}
