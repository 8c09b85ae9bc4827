import type * as ort from "onnxruntime-node";
import { UnsupportedError } from "../errors.ts";
import { serialize } from "../graph/onnx.ts";
import { apply, input } from "../graph/value.ts";
import type { LoadRequest } from "./backend.ts";
import type { DeviceSpec } from "./devices/spec.ts";

/** A package of ONNX Runtime: for Node, or for browsers. */
export interface OrtPackage extends Pick<typeof ort, "InferenceSession" | "Tensor"> {
  /** Execution providers that it is built for. */
  readonly providers: readonly string[];
}

function isPacked({ prepack, operators }: LoadRequest, { features }: DeviceSpec): boolean {
  return prepack || operators.some((operator) => features.packedOperators.includes(operator));
}

/** Outputs of a graph that stay in the device's memory. */
export function keptOnDevice({ keeps = [] }: LoadRequest, { hasBuffers }: DeviceSpec): readonly string[] {
  return hasBuffers ? keeps : [];
}

function optionsOf(
  request: LoadRequest,
  device: DeviceSpec,
  threads: number,
): ort.InferenceSession.SessionOptions {
  const { graph, arena, profile } = request;
  const keeps = keptOnDevice(request, device);
  const files = "files" in graph ? Object.entries(graph.files) : [];
  return {
    executionProviders: device.providers,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    enableCpuMemArena: arena,
    enableMemPattern: false, // plans memory per shape: as fast without, with 0.5 GB less in training
    logSeverityLevel: 3,
    ...(profile === null ? {} : { enableProfiling: true, profileFilePrefix: profile }),
    ...(keeps.length === 0
      ? {}
      : { preferredOutputLocation: Object.fromEntries(keeps.map((name) => [name, "gpu-buffer" as const])) }),
    ...(files.length === 0 ? {} : { externalData: files.map(([path, data]) => ({ path, data })) }),
    extra: {
      session: {
        use_deterministic_compute: "1",
        // Threads wait by spinning within a run, which is faster; after it they would take the cores from the next session.
        "intra_op.allow_spinning": "1",
        force_spinning_stop: "1",
        disable_cpu_ep_fallback: device.fallsBack || device.isAlwaysThere ? "0" : "1",
        disable_prepacking: isPacked(request, device) ? "0" : "1",
      },
    },
  };
}

/** Loads a graph on a device. @throws UnsupportedError if the device is not there; what ONNX Runtime throws of the graph */
export async function createSession(
  { InferenceSession, providers }: OrtPackage,
  device: DeviceSpec,
  request: LoadRequest,
  threads: number,
): Promise<ort.InferenceSession> {
  const { graph } = request;
  const options = optionsOf(request, device, threads);
  try {
    return "path" in graph
      ? await InferenceSession.create(graph.path, options)
      : await InferenceSession.create(graph.bytes, options);
  } catch (error) {
    if (device.isAlwaysThere || (await works(InferenceSession, device))) throw error;
    throw missing(device, providers, error instanceof Error ? error.message : String(error));
  }
}

/** The smallest graph: whether it loads tells a device that is missing from a graph that is wrong. */
async function works(
  InferenceSession: OrtPackage["InferenceSession"],
  { providers }: DeviceSpec,
): Promise<boolean> {
  const { bytes } = serialize({ y: apply("Identity", [input("x", "float32", [1])], [1], {}, null) });
  try {
    await (await InferenceSession.create(bytes, { executionProviders: providers })).release();
    return true;
  } catch {
    return false;
  }
}

/** The engine's message without its own source positions. */
function firstSentence(reason: string): string {
  return (reason.split(" was false. ").at(-1) as string).trim().split("\n")[0] as string;
}

function missing({ name }: DeviceSpec, providers: readonly string[], reason: string): UnsupportedError {
  return new UnsupportedError(
    `device "${name}" cannot be used on this machine (the execution engine here is built for ` +
      `${providers.join(", ")}). Use --device cpu. The engine says: ${firstSentence(reason)}`,
  );
}
