import { UnsupportedError } from "../errors.ts";
import type { TokenizerSource } from "../formats/model.ts";
import { parseTemplate, type Rendering } from "./jinja/template.ts";
import { handedOver, type Message, type RenderOptions } from "./messages.ts";
import { type ToolCallForm, toolCallForm } from "./tool-call-forms.ts";

/** Turns messages into the text a model was trained on. */
export interface ChatTemplate {
  /** @throws FormatError if the template fails or refuses the messages. */
  render(messages: readonly Message[], options?: RenderOptions): string;
  /** The same text, and what of it comes from the messages. @throws FormatError as `render`. */
  rendering(messages: readonly Message[], options?: RenderOptions): Rendering;
  /** It marks with `{% generation %}` what an assistant writes. */
  readonly hasGeneration: boolean;
  /** How the model writes calls of tools; null: it calls none, or in a form that is not known. */
  readonly toolCalls: ToolCallForm | null;
}

/** The model's Jinja chat template in the environment that transformers gives it: trimmed blocks, `bos_token` and its
 *  kin, `tools` and `documents` (none), `raise_exception`, `strftime_now`, `tojson` without HTML escapes.
 *  @throws UnsupportedError if the model has no template, FormatError if it cannot be parsed. */
export function createChatTemplate(source: TokenizerSource): ChatTemplate {
  if (source.chatTemplate === null) {
    throw new UnsupportedError(
      "this model has no chat template: use --raw (plain text prompts), or data in the plain-text format",
    );
  }
  const template = parseTemplate(source.chatTemplate);
  const tokens = tokenVariables(source);
  const rendering: ChatTemplate["rendering"] = (messages, options = {}) =>
    template.render({
      data: {
        ...options.extra,
        messages: messages.map(handedOver),
        tools: options.tools ?? null,
        documents: null,
      },
      template: { ...tokens, add_generation_prompt: options.addGenerationPrompt ?? false },
      now: options.now,
    });
  return {
    rendering,
    render: (messages, options) => rendering(messages, options).text,
    hasGeneration: template.hasGeneration,
    toolCalls: toolCallForm(source.chatTemplate),
  };
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
