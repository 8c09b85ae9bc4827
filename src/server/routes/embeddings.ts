import { z } from "zod";
import { refusal } from "../body.ts";
import { requestEnd } from "../lifecycle.ts";
import { adaptersOf, modelFields } from "../model-names.ts";
import type { ServerParts } from "../parts.ts";
import { type Route, route } from "../route.ts";

/** As OpenAI's. */
const MOST_INPUTS = 2048;

const token = z.int().min(0);
const text = z.string().min(1);

const embeddingBody = z.strictObject({
  model: modelFields.model,
  input: z
    .union([
      text,
      z.array(text).min(1).max(MOST_INPUTS),
      z.array(token).min(1),
      z.array(z.array(token).min(1)).min(1).max(MOST_INPUTS),
    ])
    .describe("a text or several; or their tokens, which are taken as they are"),
  encoding_format: z.enum(["float", "base64"]).nullish().describe("default float"),
  dimensions: z.int().min(1).nullish().describe("those of the model, no other number"),
  user: z.string().max(1000).nullish().describe("without effect"),
});

const embeddings = z.object({
  object: z.literal("list"),
  data: z.array(
    z.object({
      object: z.literal("embedding"),
      index: z.int(),
      embedding: z.union([z.array(z.number()), z.string()]).describe("base64: 32-bit floats, little-endian"),
    }),
  ),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
});

/** POST /v1/embeddings: vectors of texts, where the base is an encoder. */
export function embeddingRoutes(parts: ServerParts): readonly Route[] {
  const { engine } = parts;
  return [
    route({
      method: "post",
      path: "/v1/embeddings",
      summary: "Make embeddings",
      body: embeddingBody,
      answer: embeddings,
      handle: async (c, body) => {
        const adapters = adaptersOf(c, { model: body.model }, parts);
        requireSize(body.dimensions, parts);
        const { signal, end } = requestEnd(c, parts);
        const { vectors, promptTokens } = await engine
          .embed({ inputs: inputsOf(body.input), adapters, signal })
          .finally(end);
        const isText = body.encoding_format === "base64";
        return Response.json({
          object: "list",
          data: vectors.map((vector, index) => ({
            object: "embedding",
            index,
            embedding: isText ? base64Of(vector) : Array.from(vector),
          })),
          model: body.model,
          usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
        });
      },
    }),
  ];
}

type Input = z.output<typeof embeddingBody>["input"];

function inputsOf(input: Input): readonly (string | readonly number[])[] {
  if (typeof input === "string") return [input];
  return typeof input[0] === "number" ? [input as number[]] : (input as string[] | number[][]);
}

/** Fewer numbers are right only for models that were trained for it, which none says of itself here. */
function requireSize(dimensions: number | null | undefined, { engine }: ServerParts): void {
  const { config } = engine.base;
  if (dimensions === null || dimensions === undefined || !config?.encoder) return;
  if (dimensions === config.hiddenSize) return;
  const message = `embeddings of this model have ${config.hiddenSize} numbers, and what a part of them is worth is not known; leave it out`;
  throw refusal([{ where: "dimensions", message }]);
}

function base64Of(vector: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((x, i) => {
    bytes.setFloat32(4 * i, x, true);
  });
  return Buffer.from(bytes.buffer).toString("base64");
}
