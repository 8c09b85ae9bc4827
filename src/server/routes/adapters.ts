import { z } from "zod";
import { ADAPTER_NAME } from "../adapter-library.ts";
import { refusal } from "../body.ts";
import { HttpError } from "../errors.ts";
import type { ServerParts } from "../parts.ts";
import { type Route, route } from "../route.ts";

const loadBody = z.strictObject({
  lora_name: z.string().regex(ADAPTER_NAME, "expected letters, digits and . _ - @ / : (128 at most)"),
  lora_path: z
    .string()
    .min(1)
    .max(4096)
    .describe("below a folder of --adapters, from there on or as a whole"),
  load_inplace: z.boolean().nullish().describe("replace an adapter of that name"),
});

const unloadBody = z.strictObject({
  lora_name: z.string().min(1).max(500),
  lora_int_id: z.int().nullish().describe("without effect"),
});

/** POST /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them. */
export function adapterRoutes(parts: ServerParts): readonly Route[] {
  return [
    route({
      method: "post",
      path: "/v1/load_lora_adapter",
      summary: "Load an adapter from a folder of --adapters",
      body: loadBody,
      answer: null,
      handle: async (_, body) => {
        await load(body, parts);
        return new Response(`Success: LoRA adapter '${body.lora_name}' added successfully.`);
      },
    }),
    route({
      method: "post",
      path: "/v1/unload_lora_adapter",
      summary: "Forget an adapter; requests under way keep it",
      body: unloadBody,
      answer: null,
      handle: async (_, { lora_name: name }) => {
        requireLoaded(name, parts);
        await (parts.library ? parts.library.unload(name) : parts.engine.unloadAdapter(name));
        return new Response(`Success: LoRA adapter '${name}' removed successfully.`);
      },
    }),
  ];
}

async function load(
  body: z.output<typeof loadBody>,
  { library, engine, baseName }: ServerParts,
): Promise<void> {
  const name = body.lora_name;
  if (library === null)
    throw new HttpError(
      400,
      "unsupported",
      "the server was started without --adapters: no folder may be read",
    );
  if (name === baseName) throw refusal([{ where: "lora_name", message: "is the name of the base" }]);
  if (Object.hasOwn(engine.adapters, name) && body.load_inplace !== true)
    throw refusal([
      { where: "lora_name", message: `${name} is loaded already; load_inplace: true replaces it` },
    ]);
  await library.load(name, body.lora_path);
}

function requireLoaded(name: string, { engine }: ServerParts): void {
  if (Object.hasOwn(engine.adapters, name)) return;
  throw new HttpError(404, "model_not_found", `the adapter ${JSON.stringify(name)} is not loaded`, {
    type: "not_found_error",
    param: "lora_name",
  });
}
