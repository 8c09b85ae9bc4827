import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { profileLines } from "../../src/cli/display/train-text.ts";
import { kindOf, readProfile, type StepProfile } from "../../src/train/profile/read.ts";
import { adapterHashes, eventsOf, type Lab, openLab, runAll, statefulRun } from "./tiny-run.ts";

let lab: Lab;
beforeAll(() => {
  lab = openLab();
});
afterAll(() => lab.remove());

/** A node event as the engine writes it. */
function node(name: string, operator: string, us: number): object {
  return { cat: "Node", name: `${name}_kernel_time`, dur: us, args: { op_name: operator } };
}

const run = (us: number): object => ({ cat: "Session", name: "model_run", dur: us, args: {} });

async function trace(events: readonly object[]): Promise<string> {
  const path = lab.path(`trace-${events.length}.json`);
  await writeFile(path, `[\n${events.map((e) => JSON.stringify(e)).join(",\n")}\n]\n`);
  return path;
}

test("passes before those that count are left out, the others averaged, by kind, operator, module and layer", async () => {
  const product = "layers.1.attention.q|forward|weight|v5";
  const pass = (us: number): object[] => [
    node(product, "FusedMatMul", us),
    node("layers.0.attention.q|backward|v9_fused", "FusedMatMul", 2 * us),
    node("layers.0.attention|forward|v7", "Softmax", 500),
    node("output loss", "Identity", 500),
    run(4 * us),
  ];
  const path = await trace([run(9e9), node(product, "MatMul", 9e9), run(9e9), ...pass(1000), ...pass(3000)]);
  const profile = await readProfile(path, 2);
  expect(profile).toMatchObject({ passes: 2, passMs: 8 });
  expect(profile.byKind).toEqual([
    { name: "products of the adapter", forwardMs: 0, backwardMs: 4, calls: 1 },
    { name: "products with frozen weights", forwardMs: 2, backwardMs: 0, calls: 1 },
    { name: "softmax", forwardMs: 0.5, backwardMs: 0, calls: 1 },
    { name: "elementwise", forwardMs: 0.5, backwardMs: 0, calls: 1 },
  ]);
  expect(profile.byOperator[0]).toEqual({ name: "FusedMatMul", forwardMs: 2, backwardMs: 4, calls: 2 });
  expect(profile.byModule.map((m) => m.name)).toEqual([
    "layers.*.attention.q",
    "layers.*.attention",
    "elsewhere",
  ]);
  expect(profile.byLayer.map((l) => l.name)).toEqual(["layers.0", "layers.1", "elsewhere"]);
});

test("kinds of work", () => {
  const kind = (path: string, operator: string, readsWeight = false): string =>
    kindOf({ path, operator, readsWeight, isBackward: false });
  expect(kind("layers.3.attention", "MatMul")).toBe("products of attention");
  expect(kind("head", "FusedMatMul", true)).toBe("output layer");
  expect(kind("layers.3.mlp.up", "MatMul", true)).toBe("products with frozen weights");
  expect(kind("layers.3.mlp_norm", "Mul")).toBe("norms");
  expect(kind("layers.3.attention.q", "RotaryEmbedding")).toBe("rotary positions");
  expect(kind("layers.3.mlp.gate", "QuickGelu")).toBe("elementwise");
  expect(kind("", "Transpose")).toBe("moving data");
});

test("a profiled run says where its time went, leaves no trace behind, and trains the same adapter", async () => {
  await runAll(statefulRun(lab, "plain"));
  const events = await runAll({ ...statefulRun(lab, "profiled"), profile: true });
  const [event] = eventsOf(events, "profile");
  if (!event) throw new Error("there is no profile event");
  // Of seven steps (2, 2, 2 and 2 micro-batches in an epoch of four) the first two do not count.
  expect(event.profile.passes).toBe(10);
  expect(eventsOf(events, "profile")).toHaveLength(1);
  expect(events.indexOf(event)).toBe(events.indexOf(eventsOf(events, "step")[6] as never) + 1);
  expect(JSON.parse(await readFile(event.path, "utf8"))).toEqual(event.profile);
  expect(await readFile(event.chartPath, "utf8")).toMatch(/^<svg.*products with frozen weights/s);
  const files = await readdir(lab.path("profiled"));
  expect(files.filter((f) => f.startsWith("."))).toEqual([]);
  expect(files).toEqual(expect.arrayContaining(["profile.json", "profile.svg"]));
  expect(await adapterHashes(lab.path("profiled"))).toEqual(await adapterHashes(lab.path("plain")));
  checkTotals(event.profile);
  const lines = profileLines(event, { dim: (s: string) => s } as never).join("\n");
  expect(lines).toMatch(/One forward and backward pass: [\d.]+ ms, mean of 10/);
  expect(lines).toMatch(/^layers\.1 +[\d.]+ +[\d.]+ +[\d.]+% +\d+$/m);
});

/** Every view of a profile holds the same time and the same nodes, and most nodes know their module. */
function checkTotals({ byKind, byOperator, byModule, byLayer, passMs }: StepProfile): void {
  const total = (shares: StepProfile["byKind"], of: "calls" | "ms"): number =>
    shares.reduce((n, s) => n + (of === "ms" ? s.forwardMs + s.backwardMs : s.calls), 0);
  for (const view of [byOperator, byModule, byLayer]) {
    expect(total(view, "ms")).toBeCloseTo(total(byKind, "ms"), 6);
    expect(total(view, "calls")).toBeCloseTo(total(byKind, "calls"), 6);
  }
  expect(total(byKind, "ms")).toBeLessThan(passMs);
  for (const side of ["forwardMs", "backwardMs"] as const)
    expect(byLayer.find((l) => l.name === "layers.0")?.[side]).toBeGreaterThan(0);
  const nowhere = byModule.find((m) => m.name === "elsewhere")?.calls ?? 0;
  // Splitting θ into its tensors, the mask, and the last sums belong to no module.
  expect(nowhere).toBeLessThan(0.5 * total(byKind, "calls"));
}

test("a run that ends too early for a profile has none, and no trace either", async () => {
  const events = await runAll({ ...statefulRun(lab, "short"), profile: true, maxSteps: 2 });
  expect(eventsOf(events, "profile")).toEqual([]);
  expect(events.at(-1)?.type).toBe("done");
  expect((await readdir(join(lab.path("short")))).filter((f) => /trace|profile/.test(f))).toEqual([]);
});
