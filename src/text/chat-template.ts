import { Template } from "@huggingface/jinja";
import { FormatError, UnsupportedError } from "../errors.ts";
import type { TokenizerSource } from "../formats/model-source.ts";
import { cutSegments, type RenderedSegments } from "./chat-segments.ts";
import type { Message, RenderOptions } from "./messages.ts";
import { callStrip, STRIP_FUNCTION, useOwnStrip } from "./python-text.ts";

/** Turns messages into the text a model was trained on. */
export interface ChatTemplate {
  /** @throws FormatError if the template fails or refuses the messages. */
  render(messages: readonly Message[], options?: RenderOptions): string;
  /** The same text, cut into template text and message content.
   *  @throws FormatError as `render`. */
  renderSegments(messages: readonly Message[], options?: RenderOptions): RenderedSegments;
}

const WHERE = "chat template";

/** The model's Jinja chat template in the environment that transformers gives it: trimmed blocks, `bos_token` and its
 *  kin, `tools` and `documents` (none), `raise_exception`, `strftime_now`, `tojson` without HTML escapes.
 *  @throws UnsupportedError if the model has no template, FormatError if it cannot be parsed. */
export function createChatTemplate(source: TokenizerSource): ChatTemplate {
  if (source.chatTemplate === null) {
    throw new UnsupportedError(
      "this model has no chat template: use --raw (plain text prompts), or data in the plain-text format",
    );
  }
  const template = parse(source.chatTemplate);
  const tokens = tokenVariables(source);
  const render: ChatTemplate["render"] = (messages, options = {}) => {
    const variables = {
      ...tokens,
      messages,
      tools: options.tools ?? null,
      documents: null,
      add_generation_prompt: options.addGenerationPrompt ?? false,
      ...options.extra,
      [STRIP_FUNCTION]: callStrip,
    };
    try {
      return template.render(variables);
    } catch (error) {
      throw new FormatError(WHERE, reasonOf(error), { cause: error });
    }
  };
  return { render, renderSegments: (messages, options = {}) => cutSegments(render, messages, options) };
}

function parse(text: string): Template {
  try {
    const template = new Template(text);
    useOwnStrip(template.parsed);
    return template;
  } catch (error) {
    throw new FormatError(WHERE, `cannot be parsed: ${reasonOf(error)}`, { cause: error });
  }
}

/** `bos_token`, `eos_token` and every other `*_token` of tokenizer_config.json; those a model lacks stay undefined. */
function tokenVariables(source: TokenizerSource): Record<string, string> {
  const variables: Record<string, string> = {};
  const set = (name: string, value: unknown): void => {
    const text = typeof value === "object" && value !== null && "content" in value ? value.content : value;
    if (typeof text === "string") variables[name] = text;
  };
  for (const [name, value] of Object.entries(source.tokenizerConfig)) {
    if (name.endsWith("_token")) set(name, value);
  }
  set("bos_token", source.bosToken);
  set("eos_token", source.eosToken);
  set("pad_token", source.padToken);
  set("unk_token", source.unkToken);
  return variables;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
