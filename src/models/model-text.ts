import { InputError, type Problem } from "../errors.ts";
import { stopIds } from "../formats/hf/stop-ids.ts";
import type { TokenizerSource } from "../formats/model.ts";
import type { AdapterText } from "../formats/peft/text.ts";
import { type ChatTemplate, createChatTemplate } from "../text/chat-template.ts";
import { withVariables } from "../text/template-variables.ts";
import { createTokenizer, type Tokenizer } from "../text/tokenizer.ts";

/** What a chat template gets beside the messages. */
export interface TemplateVariables {
  readonly args: Readonly<Record<string, unknown>>;
  /** What it takes for now; null: the time of each rendering. */
  readonly date: string | null;
}

/** How a model reads and writes text. */
export interface ModelText {
  readonly tokenizer: Tokenizer;
  /** null for models without one. */
  readonly template: ChatTemplate | null;
  /** Ids that end generation. */
  readonly eosIds: readonly number[];
  /** What the template was given. */
  readonly templateVariables: TemplateVariables;
}

/** Tokenizer and chat template of a model, the template with its variables.
 *  @throws InputError for variables that the template does not use */
export function modelText(
  source: TokenizerSource,
  eosIds: readonly number[],
  templateVariables: TemplateVariables,
  tokenizer: Tokenizer = createTokenizer(source),
): ModelText {
  checkArguments(source.chatTemplate, templateVariables.args);
  return { tokenizer, template: templateOf(source, templateVariables), eosIds, templateVariables };
}

function templateOf(source: TokenizerSource, { args, date }: TemplateVariables): ChatTemplate | null {
  if (source.chatTemplate === null) return null;
  return withVariables(createChatTemplate(source), args, date === null ? undefined : new Date(date));
}

/** Variables that are not the caller's to set. */
const RESERVED: readonly string[] = ["messages", "tools", "documents", "add_generation_prompt"];

/** @throws InputError naming the arguments that are reserved, or that the template never mentions */
function checkArguments(template: string | null, args: Readonly<Record<string, unknown>>): void {
  const problems = Object.keys(args).flatMap((name): Problem[] => {
    const where = `templateArgs.${name}`;
    if (template === null) return [{ where, message: "the model has no chat template" }];
    if (RESERVED.includes(name) || name.endsWith("_token") || !/^[A-Za-z]\w*$/.test(name))
      return [{ where, message: "is not a variable that can be set" }];
    if (new RegExp(`\\b${name}\\b`).test(template)) return [];
    return [{ where, message: "the chat template has no such variable" }];
  });
  if (problems.length > 0) throw new InputError("the chat template cannot be used so:", problems);
}

/** A model with the text of an adapter's folder: its tokenizer and chat template where it brings other ones, and the variables that it
 *  was trained with, under those that were given. @throws InputError if its tokenizer has tokens that the model has no rows for */
export function withAdapterText<M extends ModelText & TextOwner>(model: M, text: AdapterText | null): M {
  if (text === null) return model;
  const { tokenizer: own, templateVariables: given } = model;
  const theirs =
    text.tokenizer !== null && differs(text.tokenizer, model.source.tokenizer) ? text.tokenizer : null;
  const source = theirs ?? model.source.tokenizer;
  const chatTemplate = text.chatTemplate ?? model.source.tokenizer.chatTemplate;
  const variables = { ...given, args: { ...text.templateArgs, ...given.args } };
  const tokenizer = theirs === null ? own : createTokenizer(theirs);
  if (tokenizer.vocabSize > Math.max(model.config.vocabSize, own.vocabSize))
    throw new InputError("the adapter does not fit the model", [
      {
        where: "tokenizer.json",
        message: `has ${tokenizer.vocabSize} tokens, and the model has ${model.config.vocabSize}`,
      },
    ]);
  const dressed = withTemplate(source, chatTemplate);
  const eosIds = [...new Set([...model.eosIds, ...stopIds([], dressed)])].sort((a, b) => a - b);
  return {
    ...model,
    ...modelText(dressed, eosIds, variables, tokenizer),
    source:
      dressed === model.source.tokenizer ? model.source : { ...model.source, tokenizer: dressed, eosIds },
  };
}

function withTemplate(source: TokenizerSource, chatTemplate: string | null): TokenizerSource {
  if (source.chatTemplate === chatTemplate) return source;
  const { chat_template: _, ...tokenizerConfig } = source.tokenizerConfig; // where older files have it
  return { ...source, chatTemplate, tokenizerConfig };
}

interface TextOwner {
  readonly source: { readonly tokenizer: TokenizerSource; readonly eosIds: readonly number[] };
  readonly config: { readonly vocabSize: number };
}

/** What an adapter's text has that is not the model's, in words; "" where all is the same. */
export function textDifference({ tokenizer, chatTemplate }: AdapterText, model: TokenizerSource): string {
  return [
    ...(tokenizer !== null && differs(tokenizer, model) ? ["tokenizer"] : []),
    ...(chatTemplate !== null && chatTemplate !== model.chatTemplate ? ["chat template"] : []),
  ].join(" and ");
}

/** Whether two tokenizers are not the same: by their sizes, added tokens and special ones. (All of a vocabulary takes long to
 *  compare, and only added tokens change in practice.) */
function differs(a: TokenizerSource, b: TokenizerSource): boolean {
  return JSON.stringify(identity(a)) !== JSON.stringify(identity(b));
}

function identity({
  tokenizerJson,
  bosToken,
  eosToken,
  padToken,
  unkToken,
  addBos,
}: TokenizerSource): unknown[] {
  const { vocab, merges } = (tokenizerJson.model ?? {}) as { vocab?: object; merges?: object };
  const size = (part: object | undefined): number => Object.keys(part ?? {}).length;
  return [
    size(vocab),
    size(merges),
    tokenizerJson.added_tokens,
    bosToken,
    eosToken,
    padToken,
    unkToken,
    addBos,
  ];
}
