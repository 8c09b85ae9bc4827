import { describe, test } from "vitest";
import type { Backend } from "../../src/runtime/backend.ts";
import { cpu } from "../../src/runtime/devices/cpu.ts";
import type { DeviceSpec } from "../../src/runtime/devices/spec.ts";
import { UNTESTED } from "../../src/runtime/devices/untested.ts";
import { openOrtNode } from "../../src/runtime/ort-node.ts";
import { openThread } from "../../src/runtime/thread.ts";
import { holds } from "./conformance/check.ts";
import { CHECKS } from "./conformance/checks.ts";
import { openWasm } from "./wasm-in-node.ts";

/** A device that computes as the CPU does and states as little as one may. */
const PLAIN: DeviceSpec = {
  ...cpu,
  name: "plain",
  features: { ...UNTESTED, mappedWeights: false, packedOperators: [], profile: false },
};

const BACKENDS: Readonly<Record<string, () => Backend>> = {
  cpu: () => openOrtNode(cpu, 2),
  "cpu on a thread": () => openThread("cpu", 2),
  "a device that states little": () => openOrtNode(PLAIN, 1),
  "WebAssembly, as in a browser": openWasm,
};

describe.each(Object.entries(BACKENDS))("%s", (_, open) => {
  test.each(CHECKS.map((check) => [check.name, check] as const))("%s", (_name, check) => holds(check, open));
});
