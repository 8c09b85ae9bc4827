import { z } from "zod";
import { ownVersion } from "../../io/own-version.ts";
import { type Route, route } from "../route.ts";

type Json = Readonly<Record<string, unknown>>;

const error = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

/** GET /openapi.json: what the other routes take and give, from the schemas that they check with. */
export function openApiRoutes(others: readonly Route[], hasKeys: boolean): readonly Route[] {
  return [
    route({
      method: "get",
      path: "/openapi.json",
      summary: "This description",
      body: null,
      answer: z.record(z.string(), z.unknown()),
      handle: () => Response.json(openApiDocument(others, hasKeys)),
    }),
  ];
}

function openApiDocument(routes: readonly Route[], hasKeys: boolean): Json {
  const paths: Record<string, Json> = {};
  for (const one of routes.filter(({ isPage }) => !isPage))
    paths[one.path] = { ...paths[one.path], [one.method]: operation(one, hasKeys) };
  return {
    openapi: "3.1.0",
    info: {
      title: "lowrank",
      version: ownVersion(),
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    ...(hasKeys ? { security: [{ key: [] }] } : {}),
    paths,
    components: {
      schemas: { Error: jsonSchema(error, "output") },
      ...(hasKeys ? { securitySchemes: { key: { type: "http", scheme: "bearer" } } } : {}),
    },
  };
}

function operation(one: Route, hasKeys: boolean): Json {
  const { method, path, summary, answer, event, isOpen } = one;
  const parameters = parametersOf(one);
  const content = {
    ...(answer === null
      ? { "text/plain": { schema: { type: "string" } } }
      : { "application/json": { schema: jsonSchema(answer, "output") } }),
    ...(event ? { "text/event-stream": { schema: jsonSchema(event, "output") } } : {}),
  };
  const refused = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } };
  return {
    operationId: `${method}${path.replace(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase()).replace(/\W/g, "")}`,
    summary,
    ...(isOpen && hasKeys ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...requestBodyOf(one),
    responses: {
      200: { description: "Success", content },
      default: { description: "Error", content: refused },
    },
  };
}

function parametersOf({ path, query }: Route): Json[] {
  const ids = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const { properties = {} } = query === undefined ? {} : jsonSchema(query, "output");
  const fields = Object.entries(properties as Json).map(([name, schema]) => ({ name, in: "query", schema }));
  return [...ids, ...fields];
}

function requestBodyOf({ body, form }: Route): Json {
  const content =
    form !== undefined
      ? { "multipart/form-data": { schema: jsonSchema(form, "input") } }
      : body !== null && { "application/json": { schema: jsonSchema(body, "input") } };
  return content ? { requestBody: { required: true, content } } : {};
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Json;
  return rest;
}
