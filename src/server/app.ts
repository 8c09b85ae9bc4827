import { setMaxListeners } from "node:events";
import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import { checkHost, checkKey, checkOrigin, corsHeaders } from "./access/access.ts";
import { readBody } from "./body.ts";
import { errorResponse, HttpError, httpErrorOf } from "./errors.ts";
import type { HubAdapters } from "./hub-adapters.ts";
import { lifecycle, requestEnd } from "./lifecycle.ts";
import { namesIn } from "./model-names.ts";
import type { ServerParts } from "./parts.ts";
import type { RequestContext, RequestEnv, Route } from "./route.ts";
import { adapterRoutes } from "./routes/adapters.ts";
import { chatRoutes } from "./routes/chat.ts";
import { completionRoutes } from "./routes/completions.ts";
import { dashboardRoutes } from "./routes/dashboard.ts";
import { embeddingRoutes } from "./routes/embeddings.ts";
import { fileRoutes } from "./routes/files.ts";
import { healthRoutes } from "./routes/health.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { modelRoutes } from "./routes/models.ts";
import { openApiRoutes } from "./routes/openapi.ts";
import { responsesRoutes } from "./routes/responses.ts";
import { tokenRoutes } from "./routes/tokens.ts";

export type App = Hono<RequestEnv>;

/** A group of routes: a new one is its file and a line here. */
const GROUPS: readonly ((parts: ServerParts) => readonly Route[])[] = [
  chatRoutes,
  completionRoutes,
  responsesRoutes,
  embeddingRoutes,
  modelRoutes,
  adapterRoutes,
  tokenRoutes,
  fileRoutes,
  jobRoutes,
  healthRoutes,
  dashboardRoutes,
];

/** The server as a function from requests to responses. Opens no port. */
export function createApp(parts: ServerParts): App {
  const { access, limits, log } = parts;
  setMaxListeners(0, parts.ending); // one of each request under way: no leak, of which Node would warn from the eleventh on
  const groups = GROUPS.flatMap((group) => group(parts));
  const routes = [...groups, ...openApiRoutes(groups, access.keys.length > 0)];
  const open = new Set(routes.filter((one) => one.isOpen).map(({ path }) => path));
  const app = new Hono<RequestEnv>();
  app.onError((error, c) => {
    const failure = httpErrorOf(error);
    c.get("note").error = failure.code;
    if (failure.status === 500) log.error("failure", { id: c.get("id"), stack: stackOf(error) });
    return errorResponse(failure);
  });
  app.notFound((c) => errorResponse(noRoute(routes, c.req.method, c.req.path)));
  app.use(lifecycle(parts), secureHeaders(), checkHost(access), checkOrigin(access));
  app.use(
    corsHeaders(access),
    checkKey(access, (path) => open.has(path)),
    refuseWhenStopping(parts, open),
  );
  for (const one of routes) addRoute(app, one, limits.bodyBytes, parts);
  return app;
}

/** Where a model is what to train. */
const NAMES_BASES = /^\/v1\/fine_tuning\//;

/** Adapters of the Hub that a body names, loaded where they may be. */
async function hubReady(
  c: RequestContext,
  body: unknown,
  hub: HubAdapters,
  parts: ServerParts,
): Promise<void> {
  const names = namesIn(body);
  if (names.length === 0) return;
  const { signal, end } = requestEnd(c, parts);
  await hub.ready(names, signal).finally(end);
}

function addRoute(
  app: App,
  { method, path, takesSlashes, body, handle }: Route,
  maxBytes: number,
  parts: ServerParts,
): void {
  const pattern = path.replace(/\{(\w+)\}/g, takesSlashes ? ":$1{.+}" : ":$1");
  app.on(method.toUpperCase(), pattern, async (c) => {
    if (body === null) return handle(c, undefined);
    const read = await readBody(c.req.raw, body, maxBytes);
    if (parts.hub !== null && !NAMES_BASES.test(path)) await hubReady(c, read, parts.hub, parts);
    return handle(c, read);
  });
}

function refuseWhenStopping({ stopping }: ServerParts, open: ReadonlySet<string>): Parameters<App["use"]>[1] {
  return async (c, next) => {
    if (stopping.aborted && !open.has(c.req.path))
      throw new HttpError(503, "server_stopping", "the server stops", {
        mayRetry: true,
        headers: { connection: "close" },
      });
    await next();
  };
}

function noRoute(routes: readonly Route[], method: string, path: string): HttpError {
  const others = routes.filter((one) => one.path === path).map((one) => one.method.toUpperCase());
  if (others.length > 0)
    return new HttpError(405, "method_not_allowed", `${path} takes ${others.join(", ")}, not ${method}`, {
      headers: { allow: others.join(", ") },
    });
  return new HttpError(
    404,
    "not_found",
    "there is nothing at this address; /openapi.json lists what is there",
    {
      type: "not_found_error",
    },
  );
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined
    ? (error.stack ?? error.message)
    : `${error.stack} caused by ${stackOf(error.cause)}`;
}
