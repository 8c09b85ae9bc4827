import { describe, expect, test } from "vitest";
import * as op from "../../src/graph/ops/index.ts";
import { input } from "../../src/graph/value.ts";
import { cpu } from "../../src/runtime/devices/cpu.ts";
import type { DeviceSpec } from "../../src/runtime/devices/spec.ts";
import { UNTESTED } from "../../src/runtime/devices/untested.ts";
import { createOrtBackend } from "../../src/runtime/ort-backend.ts";
import { floats } from "../../src/tensor/tensor.ts";
import { holds, kept, load, NEXT, numbers, row, type Subject } from "./conformance/check.ts";
import { CHECKS } from "./conformance/checks.ts";
import { fakeBuffers } from "./fake-buffers.ts";

/** The CPU with memory of its own. */
const BUFFERED: DeviceSpec = {
  ...cpu,
  name: "buffered",
  hasBuffers: true,
  features: { ...UNTESTED, mappedWeights: false, packedOperators: [], profile: false },
};

describe("kept tensors in a device's memory", () => {
  test.each(CHECKS.map((check) => [check.name, check] as const))(
    "%s; nothing is left",
    async (_name, check) => {
      const { engine, live } = fakeBuffers();
      await holds(check, () => createOrtBackend(engine, BUFFERED, 1));
      expect(live.size).toBe(0);
    },
  );

  const opened = () => {
    const { engine, live } = fakeBuffers();
    const subject: Subject = { backend: createOrtBackend(engine, BUFFERED, 1), folder: "", lowering: null };
    return { subject, live };
  };

  test("stay there from run to run, one tensor each", async () => {
    const { subject, live } = opened();
    const session = await load(subject, NEXT);
    await subject.backend.put({ x: row(0, 5) });
    for (let i = 0; i < 10; i++) {
      await session.run({}, { fetch: ["isLarge"], carry: { "x.next": "x" } });
      expect(live.size).toBe(1);
    }
    await session.run({}, { fetch: [], carry: { "x.next": "x" }, carryIf: "isLarge" });
    expect(live.size).toBe(1);
    expect(await kept(subject, "x")).toEqual(row(11, 16));
    await subject.backend.put({ x: row(-9, 1) });
    await session.run({}, { fetch: ["x.next"], carry: { "x.next": "x" }, carryIf: "isLarge" });
    expect(await kept(subject, "x")).toEqual(row(-9, 1)); // not large: not kept, and not left either
    expect(live.size).toBe(1);
    await subject.backend.drop(["x"]);
    expect(live.size).toBe(0);
  });

  test("a run that fails leaves what is kept, and nothing else", async () => {
    const { subject, live } = opened();
    const sum = await load(subject, {
      "x.next": op.add(input("x", "float32", ["n"]), input("z", "float32", ["n"])),
    });
    await subject.backend.put({ x: row(1, 2, 3, 4) });
    const part = { names: ["x"], from: 1, to: 3 };
    await expect(
      sum.run({ z: row(1, 2, 3) }, { fetch: [], carry: { "x.next": "x" }, part }),
    ).rejects.toThrow();
    expect(await kept(subject, "x")).toEqual(row(1, 2, 3, 4));
    expect(live.size).toBe(1);
  });

  test("stretches wait until the whole is wanted or complete, in any order, over each other too", async () => {
    const { subject, live } = opened();
    const session = await load(subject, { "x.next": op.scale(input("x", "float32", ["n"]), 10) });
    await subject.backend.put({ x: row(1, 2, 3, 4, 5, 6, 7) });
    const times10 = (from: number, to: number) =>
      session.run({}, { fetch: [], carry: { "x.next": "x" }, part: { names: ["x"], from, to } });
    await times10(5, 7);
    await times10(0, 2);
    expect(live.size).toBe(3);
    expect(numbers(await kept(subject, "x"))).toEqual([10, 20, 3, 4, 5, 60, 70]);
    expect(live.size).toBe(1);
    await times10(0, 2);
    await times10(0, 2); // again
    await times10(1, 4); // over its end
    expect(numbers(await kept(subject, "x"))).toEqual([1000, 20000, 30, 40, 5, 60, 70]);
    for (const [from, to] of [
      [0, 3],
      [3, 6],
      [6, 7],
    ] as const)
      await times10(from, to);
    expect(live.size).toBe(1); // complete
    expect(numbers(await kept(subject, "x"))).toEqual([10000, 200000, 300, 400, 50, 600, 700]);
  });
});

test("more stretches than a shader has buffers", async () => {
  const { engine, live } = fakeBuffers();
  const subject: Subject = { backend: createOrtBackend(engine, BUFFERED, 1), folder: "", lowering: null };
  const session = await load(subject, { "x.next": op.scale(input("x", "float32", ["n"]), -1) });
  const values = Float32Array.from({ length: 120 }, (_, i) => i);
  await subject.backend.put({ x: floats(values, [120]) });
  for (let from = 0; from < 120; from += 2)
    await session.run(
      {},
      { fetch: [], carry: { "x.next": "x" }, part: { names: ["x"], from, to: from + 2 } },
    );
  expect(numbers(await kept(subject, "x"))).toEqual(Array.from(values, (x) => -x));
  expect(live.size).toBe(1);
});
