import { basename } from "node:path";
import { z } from "zod";
import type { Engine } from "../generate/engine/engine.ts";
import { shortName } from "../hub/known-models.ts";
import { refusal } from "./body.ts";
import { HttpError } from "./errors.ts";
import type { FieldsOf, Optional } from "./fields.ts";
import type { ServerParts } from "./parts.ts";
import type { RequestContext } from "./route.ts";

/** More at once make no sense: each adds to the work of every token. */
const MAX_MIXED = 16;

const weight: z.ZodNumber = z.number().min(-100).max(100);

/** Which weights answer. */
export interface ModelChoice {
  readonly model: string;
  readonly lora?: Optional<readonly { readonly name: string; readonly weight: number }[]>;
}

export const modelFields: FieldsOf<ModelChoice> = {
  model: z.string().min(1).max(500).describe("the base, an adapter, or base:adapter"),
  lora: z
    .array(z.strictObject({ name: z.string().min(1).max(500), weight: weight.default(1) }))
    .max(MAX_MIXED)
    .nullish()
    .describe("a mixture of adapters on the base, each with its factor"),
};

/** The name of a base in `model`: of a path its last part, else its short name, else as it was given. */
export function baseNameOf(model: string): string {
  const isPath = /^[./~\\]|\\|\.gguf$/i.test(model);
  return isPath ? basename(model).replace(/\.gguf$/i, "") : shortName(model);
}

/** Every model that a body names. */
export function namesIn(body: unknown): readonly string[] {
  const { model, lora } = body as { readonly model?: unknown; readonly lora?: ModelChoice["lora"] };
  return [...(typeof model === "string" ? [model] : []), ...(lora ?? []).map(({ name }) => name)];
}

/** Adapters and factors that a request asks for; the base alone is `{}`.
 *  @throws HttpError 404 for names that are none: never the base in the place of an adapter */
export function adaptersOf(
  c: RequestContext,
  { model, lora }: ModelChoice,
  { engine, baseName }: Pick<ServerParts, "engine" | "baseName">,
): Readonly<Record<string, number>> {
  c.get("note").model = model;
  if (!lora || lora.length === 0) return oneModel(model, engine, baseName);
  if (shortName(model) !== baseName)
    throw refusal([{ where: "lora", message: `needs the base as model, ${baseName}, got ${model}` }]);
  const names = lora.map(({ name }) => name);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0) throw refusal([{ where: "lora", message: `${twice[0]} is given twice` }]);
  for (const name of names) requireAdapter(name, name, engine);
  return Object.fromEntries(lora.map(({ name, weight }) => [name, weight]));
}

function oneModel(model: string, engine: Engine, baseName: string): Readonly<Record<string, number>> {
  if (shortName(model) === baseName) return {};
  const prefix = `${baseName}:`;
  const isQualified = model.startsWith(prefix) && !Object.hasOwn(engine.adapters, model);
  const name = isQualified ? model.slice(prefix.length) : model;
  requireAdapter(name, model, engine);
  return { [name]: 1 };
}

function requireAdapter(name: string, asked: string, engine: Engine): void {
  if (Object.hasOwn(engine.adapters, name)) return;
  throw new HttpError(404, "model_not_found", `the model ${JSON.stringify(asked)} does not exist here`, {
    type: "not_found_error",
    param: "model",
  });
}
