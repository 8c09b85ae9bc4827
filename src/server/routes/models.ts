import { relative, sep } from "node:path";
import { z } from "zod";
import { HttpError } from "../errors.ts";
import type { ServerParts } from "../parts.ts";
import { type Route, route } from "../route.ts";

const model = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.literal("lowrank"),
  root: z.string().describe("the base: its name; an adapter: its place below the folder of adapters"),
  parent: z.string().nullable().describe("the base of an adapter"),
  max_model_len: z.int(),
});

const deleted = z.object({ id: z.string(), object: z.literal("model"), deleted: z.literal(true) });

const modelList = z.object({ object: z.literal("list"), data: z.array(model) });

type Model = z.output<typeof model>;

/** GET /v1/models and /v1/models/{id}: the base, then its adapters, as vLLM lists them; DELETE of what jobs have made. */
export function modelRoutes(parts: ServerParts): readonly Route[] {
  const created = Math.floor(Date.now() / 1000);
  return [
    route({
      method: "get",
      path: "/v1/models",
      summary: "List the base and its adapters",
      body: null,
      answer: modelList,
      handle: () => Response.json({ object: "list", data: modelsOf(parts, created) }),
    }),
    route({
      method: "get",
      path: "/v1/models/{id}",
      takesSlashes: true,
      summary: "Describe the base or an adapter",
      body: null,
      answer: model,
      handle: (c) => {
        const id = c.req.param("id") ?? "";
        const found = modelsOf(parts, created).find((one) => one.id === id);
        if (found) return Response.json(found);
        throw noModel(id);
      },
    }),
    route({
      method: "delete",
      path: "/v1/models/{id}",
      takesSlashes: true,
      summary: "Delete the model of a job with its checkpoints and files, or one of its checkpoints",
      body: null,
      answer: deleted,
      handle: async (c) => {
        const id = c.req.param("id") ?? "";
        if (!(await parts.jobs?.deleteModel(id))) throw notDeletable(id, parts);
        return Response.json({ id, object: "model", deleted: true });
      },
    }),
  ];
}

function noModel(id: string): HttpError {
  return new HttpError(404, "model_not_found", `the model ${JSON.stringify(id)} does not exist here`, {
    type: "not_found_error",
    param: "model",
  });
}

function notDeletable(id: string, { engine, baseName }: ServerParts): HttpError {
  if (id !== baseName && !Object.hasOwn(engine.adapters, id)) return noModel(id);
  const what =
    id === baseName
      ? "is the base"
      : "was not made by a job of this server; /v1/unload_lora_adapter forgets it";
  return new HttpError(400, "model_not_deletable", `${id} ${what}: only models of jobs are deleted`, {
    param: "model",
  });
}

function modelsOf({ engine, baseName, library }: ServerParts, created: number): Model[] {
  const entry = (id: string, root: string, parent: string | null): Model => ({
    id,
    object: "model",
    created,
    owned_by: "lowrank",
    root,
    parent,
    max_model_len: engine.contextLength,
  });
  const adapters = Object.entries(engine.adapters).map(([name, { path }]) =>
    entry(name, shownPath(path, library?.folders ?? []) ?? name, baseName),
  );
  return [entry(baseName, baseName, null), ...adapters];
}

/** A path below one of the folders, from there on: where the folders lie is nobody's business. */
function shownPath(path: string, folders: readonly string[]): string | null {
  const folder = folders.find((one) => path.startsWith(one + sep));
  return folder === undefined ? null : relative(folder, path).replaceAll(sep, "/");
}
