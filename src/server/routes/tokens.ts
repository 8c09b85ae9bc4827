import { z } from "zod";
import type { BaseModel } from "../../models/base.ts";
import { encodePrompt } from "../../text/chat-encode.ts";
import { contentLength } from "../../text/messages.ts";
import { encodeRaw } from "../../text/raw.ts";
import { refusal } from "../body.ts";
import { HttpError } from "../errors.ts";
import { chatMessages, templateMessages } from "../messages.ts";
import { adaptersOf } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type RequestContext, type Route, route } from "../route.ts";

const model = z.string().min(1).max(500).nullish();

const tokenizeBody = z.strictObject({
  model,
  prompt: z.string().nullish(),
  messages: chatMessages.nullish(),
  add_special_tokens: z
    .boolean()
    .nullish()
    .describe("of a prompt: with the token that texts begin with; default true"),
  add_generation_prompt: z.literal(true).nullish(),
  return_token_strs: z.boolean().nullish(),
});

const tokenized = z.object({
  count: z.int(),
  max_model_len: z.int(),
  tokens: z.array(z.int()),
  token_strs: z.array(z.string()).nullable(),
});

const detokenizeBody = z.strictObject({ model, tokens: z.array(z.int().min(0).max(1e9)).max(1e6) });

/** POST /tokenize and /detokenize, as vLLM has them, by the tokenizer of the model that is named. */
export function tokenRoutes(parts: ServerParts): readonly Route[] {
  return [
    route({
      method: "post",
      path: "/tokenize",
      summary: "Tokens of a text or a conversation",
      body: tokenizeBody,
      answer: tokenized,
      handle: async (c, body) => {
        const base = await speaking(c, body.model, parts);
        const tokens = tokensOf(body, base, parts.engine.contextLength);
        const names = body.return_token_strs ? tokens.map((id) => base.tokenizer.token(id) ?? "") : null;
        const max_model_len = parts.engine.contextLength;
        return Response.json({ count: tokens.length, max_model_len, tokens, token_strs: names });
      },
    }),
    route({
      method: "post",
      path: "/detokenize",
      summary: "Text of tokens",
      body: detokenizeBody,
      answer: z.object({ prompt: z.string() }),
      handle: async (c, body) => {
        const base = await speaking(c, body.model, parts);
        const size = base.config.vocabSize;
        const unknown = body.tokens.findIndex((id) => id >= size);
        if (unknown >= 0) {
          const message = `expected a number below ${size}, got ${body.tokens[unknown]}`;
          throw refusal([{ where: `tokens[${unknown}]`, message }]);
        }
        return Response.json({ prompt: base.tokenizer.decode(body.tokens, { special: true }) });
      },
    }),
  ];
}

function speaking(
  c: RequestContext,
  name: string | null | undefined,
  parts: ServerParts,
): Promise<BaseModel> {
  return parts.engine.speaking(name ? adaptersOf(c, { model: name }, parts) : {});
}

function tokensOf(
  body: z.output<typeof tokenizeBody>,
  base: BaseModel,
  contextLength: number,
): readonly number[] {
  const { prompt, messages } = body;
  const isPrompt = typeof prompt === "string";
  if (isPrompt === (messages !== null && messages !== undefined))
    throw refusal([{ where: "prompt, messages", message: "expected one of the two" }]);
  const asked = templateMessages(messages ?? []);
  const characters = isPrompt ? prompt.length : contentLength(asked);
  const most = contextLength * base.tokenizer.longestToken;
  if (characters > most)
    throw new HttpError(
      400,
      "context_length_exceeded",
      `${characters} characters; a context of ${contextLength} tokens holds at most ${most}`,
    );
  if (!isPrompt) return encodePrompt(base, asked, {}).ids;
  const isWhole = body.add_special_tokens ?? true;
  return isWhole ? encodeRaw(base.tokenizer, prompt) : base.tokenizer.encode(prompt, { special: true });
}
