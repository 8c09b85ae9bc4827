import type { IncomingMessage, Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";
import { LowrankError } from "../errors.ts";
import type { App } from "./app.ts";

/** A server that listens. */
export interface RunningServer {
  /** "http://127.0.0.1:8080" */
  readonly url: string;
  /** Takes no more connections, waits for what is under way, at most `graceMs`, and closes. */
  close(graceMs: number, cutOff: () => void): Promise<void>;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
}

/** A client that sends its headers or its body in drops holds a connection no longer than this. */
const HEADERS_MS = 10_000;
const BODY_MS = 60_000;
/** A file of examples may be large, and its way slow. */
const UPLOAD_MS = 3_600_000;
const UPLOADS = /^\/v1\/files(\?|$)/;
const LOOK_MS = 20;
const LAST_LOOK_MS = 100;
/** For what was cut off to tell its clients. */
const LAST_WORDS_MS = 2000;

/** Listens. @throws LowrankError ("listen") where the address is taken or not this machine's */
export async function listen(app: App, { host, port }: ListenOptions): Promise<RunningServer> {
  const limits = { headersTimeout: HEADERS_MS, requestTimeout: UPLOAD_MS, keepAliveTimeout: 5000 };
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { ...limits, connectionsCheckingInterval: 2000 },
  }) as Server;
  const { isQuiet } = countRequests(server);
  server.on("request", endSlowBody);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${name}:${bound}`,
    close: (graceMs, cutOff) => close(server, isQuiet, graceMs, cutOff),
  };
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): LowrankError {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: "the port is taken; --port chooses another one",
    EACCES: "this port needs more rights; --port chooses another one",
    EADDRNOTAVAIL: "this machine has no such address",
  };
  const reason = reasons[error.code ?? ""] ?? error.message;
  return new LowrankError("listen", `cannot listen on ${host}, port ${port}: ${reason}`, { cause: error });
}

/** Node has one time limit for all requests. */
function endSlowBody(request: IncomingMessage): void {
  if (UPLOADS.test(request.url ?? "")) return;
  const timer = setTimeout(() => {
    if (!request.complete) request.socket.end("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n");
  }, BODY_MS);
  timer.unref();
  request.once("close", () => clearTimeout(timer));
}

/** Requests whose answers have not ended. */
function countRequests(server: Server): { readonly isQuiet: () => boolean } {
  let underWay = 0;
  server.on("request", (_, response) => {
    underWay++;
    response.once("close", () => underWay--);
  });
  return { isQuiet: () => underWay === 0 };
}

/** Connections without a request would hold a server up for as long as their clients keep them: requests are waited for. */
async function close(
  server: Server,
  isQuiet: () => boolean,
  graceMs: number,
  cutOff: () => void,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  if (!(await isWithin(isQuiet, graceMs))) {
    cutOff();
    await isWithin(isQuiet, LAST_WORDS_MS);
  }
  // What is just coming in is answered with a 503.
  server.closeIdleConnections();
  await Promise.race([closed, delay(LAST_LOOK_MS)]);
  server.closeAllConnections();
  await closed;
}

async function isWithin(isQuiet: () => boolean, ms: number): Promise<boolean> {
  for (const started = performance.now(); !isQuiet(); await delay(LOOK_MS))
    if (performance.now() - started >= ms) return false;
  return true;
}
