import type { Server } from "node:http";
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
/** For what was cut off to tell its clients. */
const LAST_WORDS_MS = 2000;

/** Listens. @throws LowrankError ("listen") where the address is taken or not this machine's */
export async function listen(app: App, { host, port }: ListenOptions): Promise<RunningServer> {
  const limits = { headersTimeout: HEADERS_MS, requestTimeout: BODY_MS, keepAliveTimeout: 5000 };
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { ...limits, connectionsCheckingInterval: 2000 },
  }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  const name = host.includes(":") ? `[${host}]` : host;
  return { url: `http://${name}:${bound}`, close: (graceMs, cutOff) => close(server, graceMs, cutOff) };
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

async function close(server: Server, graceMs: number, cutOff: () => void): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  if (await isWithin(closed, graceMs)) return;
  cutOff();
  if (await isWithin(closed, LAST_WORDS_MS)) return;
  server.closeAllConnections();
  await closed;
}

async function isWithin(work: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
