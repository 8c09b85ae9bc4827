// The thread that owns the execution engine: a run blocks, so the caller's event loop must not be here.
import { parentPort } from "node:worker_threads";
import { UnsupportedError } from "../errors.ts";
import type { Backend, BackendSession, Tensors } from "./backend.ts";
import { DEVICE_TABLE } from "./devices/table.ts";
import { openOrtNode } from "./ort-node.ts";
import type { Reply, Request } from "./protocol.ts";

let backend: Backend;
const sessions = new Map<number, BackendSession>();

async function handle(request: Request): Promise<Tensors> {
  switch (request.kind) {
    case "open":
      backend = openOrtNode(DEVICE_TABLE[request.device], request.threads);
      return {};
    case "load":
      sessions.set(request.session, await backend.load(request.load));
      return {};
    case "get":
      return backend.get(request.names);
    case "put":
      await backend.put(request.tensors);
      return {};
    case "resize":
      await backend.resize(request.shapes);
      return {};
    case "copyRow":
      await backend.copyRow(request.names, request.from, request.to);
      return {};
    case "drop":
      await backend.drop(request.names);
      return {};
    default:
      return handleFor(sessions.get(request.session), request);
  }
}

async function handleFor(
  session: BackendSession | undefined,
  request: Extract<Request, { kind: "run" | "endProfile" | "unload" }>,
): Promise<Tensors> {
  if (!session) throw new Error("the session is closed");
  if (request.kind === "run") return session.run(request.feeds, request.options);
  if (request.kind === "endProfile") await session.endProfile();
  else {
    sessions.delete(request.session);
    await session.close();
  }
  return {};
}

/** Results are the caller's, so they are handed over, not copied. */
function answer(id: number, tensors: Tensors): void {
  const buffers = new Set(Object.values(tensors).map(({ data }) => data.buffer as ArrayBuffer));
  parentPort?.postMessage({ id, ok: true, tensors } satisfies Reply, [...buffers]);
}

parentPort?.on("message", async ({ id, request }: { id: number; request: Request }) => {
  try {
    answer(id, await handle(request));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isUnsupported = error instanceof UnsupportedError;
    parentPort?.postMessage({ id, ok: false, message, isUnsupported } satisfies Reply);
  }
});
