import { apply, input } from "../../src/graph/value.ts";
import type { Device } from "../../src/runtime/device.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";

/** Why a device cannot be tested here; null: it can. */
export async function whyNot(device: Device): Promise<string | null> {
  try {
    const runtime = openRuntime({ device });
    const session = await runtime.load({ y: apply("Neg", [input("x", "float32", [1])], [1], {}, null) });
    await session.close();
    await runtime.close();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
