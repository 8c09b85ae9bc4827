import { randomUUID } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { HttpError } from "./errors.ts";
import { onBodyEnd } from "./event-stream.ts";
import type { ServerParts } from "./parts.ts";
import type { RequestContext, RequestEnv } from "./route.ts";

const ID = /^[\w.-]{1,100}$/;

/** Not worth a line while all is well: a machine, or the dashboard, asks every few seconds. */
const QUIET = /^\/(healthz|readyz|metrics|dashboard\/.*)$/;

/** Gives every request an id, and tells log and metrics of it when its answer has ended. */
export function lifecycle({ log, metrics }: ServerParts): MiddlewareHandler<RequestEnv> {
  return async (c, next) => {
    const startedMs = performance.now();
    const given = c.req.header("x-request-id") ?? "";
    c.set("id", ID.test(given) ? given : randomUUID());
    c.set("atEnd", []);
    c.set("note", {});
    await next();
    c.res.headers.set("x-request-id", c.get("id"));
    const { status } = c.res;
    const route = routePath(c, -1);
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      for (const run of c.get("atEnd").splice(0)) run();
      const elapsedMs = Math.round(performance.now() - startedMs);
      metrics.requestEnded(route, status, elapsedMs / 1000);
      const fields = { id: c.get("id"), method: c.req.method, path: c.req.path, status, elapsedMs };
      if (status >= 500) log.error("request", { ...fields, ...c.get("note") });
      else if (status >= 400 || !QUIET.test(c.req.path)) log.info("request", { ...fields, ...c.get("note") });
    };
    if ((c.res.headers.get("content-type") ?? "").startsWith("text/event-stream"))
      c.res = onBodyEnd(c.res, end);
    else end();
  };
}

/** When to stop work for one request: its client is gone, its time is up, the server ends, or its answer has ended (`end`). The signal's
 *  reason is what to tell the client. */
export function requestEnd(
  c: RequestContext,
  { limits, ending }: ServerParts,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const controller = new AbortController();
  const client = c.req.raw.signal;
  const stop = (error: HttpError): void => controller.abort(error);
  const onGone = (): void => stop(new HttpError(499, "client_closed_request", "the client went away"));
  const onEnding = (): void =>
    stop(new HttpError(503, "server_stopping", "the server stops", { mayRetry: true }));
  const onTime = (): void =>
    stop(new HttpError(504, "request_timeout", `the answer took longer than ${limits.requestMs / 1000} s`));
  const timer = setTimeout(onTime, limits.requestMs);
  timer.unref();
  client.addEventListener("abort", onGone, { once: true });
  ending.addEventListener("abort", onEnding, { once: true });
  if (client.aborted) onGone();
  else if (ending.aborted) onEnding();
  // Not AbortSignal.any: on Node 20 a signal that lives as long as the server keeps what was made of it.
  const end = (): void => {
    clearTimeout(timer);
    client.removeEventListener("abort", onGone);
    ending.removeEventListener("abort", onEnding);
    onGone();
  };
  c.get("atEnd").push(end);
  return { signal: controller.signal, end };
}
