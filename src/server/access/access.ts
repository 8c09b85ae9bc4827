import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { HttpError } from "../errors.ts";
import type { RequestEnv } from "../route.ts";
import { type ApiKey, findKey } from "./keys.ts";
import { createLimiter } from "./limiter.ts";

/** Who may ask. */
export interface AccessOptions {
  /** None: every request is let in that reaches the server. */
  readonly keys: readonly ApiKey[];
  /** Web pages of these origins may ask; "*": of all. */
  readonly origins: readonly string[];
  /** Bound to this machine alone: only names of this machine are answered to. */
  readonly isLocal: boolean;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/** Whether an address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host) || host === "::1";
}

/** A page of a stranger whose name was made to lead here (DNS rebinding) calls this server by that name. */
export function checkHost({ isLocal }: AccessOptions): MiddlewareHandler<RequestEnv> {
  return async (c, next) => {
    const { hostname } = new URL(c.req.url);
    if (isLocal && !LOOPBACK.test(hostname))
      throw new HttpError(403, "host_not_allowed", "this server answers to the names of this machine alone", {
        type: "permission_error",
      });
    await next();
  };
}

/** Requests of web pages: of this server's own, and of the origins that are allowed. */
export function checkOrigin({ origins }: AccessOptions): MiddlewareHandler<RequestEnv> {
  const isAllowed = (origin: string): boolean => origins.includes("*") || origins.includes(origin);
  return async (c, next) => {
    const origin = c.req.header("origin");
    const isOwn = origin === undefined || origin === new URL(c.req.url).origin;
    const site = c.req.header("sec-fetch-site") ?? "none";
    const isForeign =
      origin === undefined && ["cross-site", "same-site"].includes(site) && c.req.method !== "GET";
    if ((!isOwn && !isAllowed(origin)) || isForeign)
      throw new HttpError(403, "origin_not_allowed", "requests of other web pages need --allow-origin", {
        type: "permission_error",
      });
    await next();
  };
}

/** Tells browsers which pages may read the answers. */
export function corsHeaders({ origins }: AccessOptions): MiddlewareHandler {
  return cors({
    origin: (origin) => (origins.includes("*") || origins.includes(origin) ? origin : null),
    allowMethods: ["GET", "POST", "DELETE"],
    exposeHeaders: ["x-request-id", "retry-after", "x-should-retry"],
    maxAge: 600,
  });
}

/** Lets requests with a key in, within its limits. */
export function checkKey(
  { keys }: AccessOptions,
  isOpen: (path: string) => boolean,
): MiddlewareHandler<RequestEnv> {
  const limiter = createLimiter();
  return async (c, next) => {
    if (keys.length > 0 && !isOpen(c.req.path)) {
      const [, given] = /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "") ?? [];
      const key = given === undefined ? null : findKey(keys, given);
      if (key === null) throw unauthorized(given !== undefined);
      c.get("note").key = key.label;
      c.get("atEnd").push(limiter.enter(key));
    }
    await next();
  };
}

function unauthorized(isGiven: boolean): HttpError {
  const message = isGiven ? "the API key is not known" : "expected a header authorization: Bearer KEY";
  return new HttpError(401, "invalid_api_key", message, {
    type: "authentication_error",
    headers: { "www-authenticate": "Bearer" },
  });
}
