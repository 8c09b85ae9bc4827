import { describe, test } from "vitest";
import { webgpuLowering } from "../../src/graph/lower/webgpu.ts";
import { openThread } from "../../src/runtime/thread.ts";
import { holds } from "../runtime/conformance/check.ts";
import { CHECKS } from "../runtime/conformance/checks.ts";
import { whyNot } from "./there.ts";

const reason = await whyNot("webgpu");

describe.skipIf(reason !== null)(`webgpu${reason ? `: ${reason}` : ""}`, () => {
  test.each(CHECKS.map((check) => [check.name, check] as const))("%s", (_name, check) =>
    holds(check, () => openThread("webgpu", 2), webgpuLowering),
  );
});
