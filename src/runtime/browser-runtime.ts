import { UnsupportedError } from "../errors.ts";
import { createRuntime, type PlaceGraph, type Runtime } from "./create-runtime.ts";
import { BROWSER_DEVICES, type BrowserDevice } from "./devices/browser-table.ts";
import { openOrtWeb } from "./ort-web.ts";

/** How to open a runtime in a browser. */
export interface BrowserRuntimeOptions {
  readonly device: BrowserDevice;
  /** Threads of the execution engine; default: all cores where the page is cross-origin isolated, else 1. */
  readonly threads?: number | undefined;
  /** Address of the folder of ONNX Runtime's .wasm files. */
  readonly assets?: string | undefined;
  /** The files of weights that graphs name, by their names. Asked for whenever a graph is loaded. */
  weightFiles(): Promise<Readonly<Record<string, Uint8Array>>>;
}

/** Starts the execution engine on this thread. @throws UnsupportedError for threads that the page cannot have; RuntimeError */
export async function openBrowserRuntime(options: BrowserRuntimeOptions): Promise<Runtime> {
  const { device, assets, weightFiles } = options;
  const spec = BROWSER_DEVICES[device];
  if (spec === undefined)
    throw new UnsupportedError(
      `unknown device "${device}"; a browser has: ${Object.keys(BROWSER_DEVICES).join(", ")}`,
    );
  const threads = threadsOf(options);
  const backend = await openOrtWeb(spec, { threads, assets });
  return createRuntime(backend, graphBytes(weightFiles), { device, threads, lowering: spec.lowering });
}

interface PageGlobals {
  readonly crossOriginIsolated?: boolean;
  readonly navigator?: { readonly hardwareConcurrency?: number };
}

/** Threads share memory, which only an isolated page may. */
function threadsOf({ threads }: BrowserRuntimeOptions): number {
  const { crossOriginIsolated = false, navigator } = globalThis as PageGlobals;
  if (threads !== undefined && threads > 1 && !crossOriginIsolated)
    throw new UnsupportedError(
      `${threads} threads need a page that is cross-origin isolated (headers Cross-Origin-Opener-Policy: same-origin and ` +
        "Cross-Origin-Embedder-Policy: require-corp)",
    );
  return threads ?? (crossOriginIsolated ? (navigator?.hardwareConcurrency ?? 1) : 1);
}

/** Hands a graph over as bytes, with the weights that lie where graphs with weights are loaded. */
function graphBytes(weightFiles: BrowserRuntimeOptions["weightFiles"]): PlaceGraph {
  return async (bytes, folder, load) =>
    load({ bytes, files: folder === undefined ? {} : await weightFiles() });
}
