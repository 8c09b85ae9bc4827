import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type fetchPackaged, packagedPath } from "../../src/hub/package-source.ts";
import { type ChoiceMeans, chooseDevice, verdictOf } from "../../src/runtime/check/choose.ts";
import { gpusHere } from "../../src/runtime/check/gpus.ts";
import { installDevice } from "../../src/runtime/check/install.ts";
import { type StepNumbers, stepErrors, stepNumbers } from "../../src/runtime/check/measure.ts";
import { missingFiles } from "../../src/runtime/check/missing.ts";
import type { Checked } from "../../src/runtime/check/protocol.ts";
import { type CheckResult, runCheck } from "../../src/runtime/check/run.ts";
import type { DeviceNeeds } from "../../src/runtime/devices/spec.ts";
import { openRuntime } from "../../src/runtime/runtime.ts";
import { errorOf } from "../error-of.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-check-"));
});
afterAll(() => rm(folder, { recursive: true }));

const GPU = { name: "NVIDIA (nvidia)", memoryBytes: null };
const GOOD: Checked = {
  errors: { loss: 1e-7, gradient: 2e-7 },
  cpuMs: 100,
  deviceMs: 10,
  driverFiles: ["/dev/nvidia0"],
};
const passed = (checked: Partial<Checked> = {}): CheckResult => ({
  state: "passed",
  checked: { ...GOOD, ...checked },
});

describe("a check", () => {
  test("of the CPU beside itself finds no difference", async () => {
    const result = await runCheck("cpu");
    expect(result).toMatchObject({ state: "passed", checked: { errors: { loss: 0, gradient: 0 } } });
  });

  test("computes a step with a gradient, and finds what is off, or no number", async () => {
    const runtime = openRuntime({ threads: 1 });
    const cpu = await stepNumbers(runtime);
    await runtime.close();
    expect(cpu.loss).toBeGreaterThan(2);
    expect(cpu.gradient.every(Number.isFinite)).toBe(true);
    expect(cpu.gradient.filter((g) => g !== 0).length).toBeGreaterThan(0.9 * cpu.gradient.length);
    const changed = (i: number, by: number): StepNumbers => ({
      ...cpu,
      gradient: cpu.gradient.map((g, j) => (i === j ? g + by : g)),
    });
    const largest = Math.max(...cpu.gradient.map(Math.abs));
    expect(stepErrors(cpu, changed(3, largest / 8)).gradient).toBeCloseTo(1 / 8, 4);
    expect(stepErrors(cpu, changed(3, Number.NaN)).gradient).toBeNaN();
    expect(stepErrors(cpu, { ...cpu, loss: 1.5 * cpu.loss }).loss).toBeCloseTo(0.5, 6);
  });

  const childThat = async (name: string, body: string): Promise<string> => {
    const path = join(folder, `${name}.mjs`);
    await writeFile(path, body);
    return path;
  };
  const telling = (checked: unknown): string =>
    `process.send(${JSON.stringify({ type: "checked", checked })}, () => process.exit(0));`;

  test("survives a driver that ends the process, says nothing or says what is missing", async () => {
    const aborts = await childThat("aborts", 'console.error("driver: lost"); process.abort();');
    const crashed = await runCheck("webgpu", 30_000, aborts);
    expect(crashed).toMatchObject({ state: "crashed", message: expect.stringContaining("SIGABRT") });
    const stopped = await childThat(
      "stopped",
      'process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000);',
    );
    expect(await runCheck("webgpu", 30_000, stopped)).toMatchObject({ state: "stopped" });
    const hangs = await childThat("hangs", "setInterval(() => undefined, 1000);");
    expect(await runCheck("webgpu", 500, hangs)).toEqual({ state: "late", message: "no answer after 0.5 s" });
    const fails = 'process.send({ type: "failed", message: "no such device" }, () => process.exit(0));';
    expect(await runCheck("webgpu", 30_000, await childThat("fails", fails))).toEqual({
      state: "missing",
      message: "no such device",
    });
  });

  test.each([
    ["passed", { loss: 1e-5, gradient: 1e-5 }],
    ["wrong", { loss: 1e-3, gradient: 1e-5 }],
    ["wrong", { loss: 1e-5, gradient: 1e-3 }],
    ["wrong", { loss: null, gradient: 1e-5 }],
  ])("%s: %o", async (state, errors) => {
    const path = await childThat(
      `tells-${errors.loss}-${errors.gradient}`,
      telling({ ...GOOD, errors }).replace("null", "NaN"),
    );
    const result = await runCheck("webgpu", 30_000, path);
    expect(result.state).toBe(state);
  });
});

describe("a verdict", () => {
  test("is for a GPU that is right and faster", () => {
    expect(verdictOf(passed())).toMatchObject({ isUsable: true });
    expect(verdictOf(passed({ driverFiles: null }))).toMatchObject({ isUsable: true });
  });

  test("is never for a software driver, a slow one, a wrong one or none", () => {
    expect(verdictOf(passed({ driverFiles: [] }))).toEqual({
      isUsable: false,
      reason: expect.stringMatching(
        /^it computes in software, on the processor: products 10 times as fast as the CPU's; loss 1.0e-7 and/,
      ),
    });
    expect(verdictOf(passed({ deviceMs: 90 })).isUsable).toBe(false);
    expect(verdictOf(passed({ driverFiles: null, deviceMs: 3000 })).isUsable).toBe(false);
    expect(verdictOf({ state: "wrong", checked: GOOD }).isUsable).toBe(false);
    expect(verdictOf({ state: "crashed", message: "it ended" })).toEqual({
      isUsable: false,
      reason: "it ended",
    });
  });
});

describe("--device auto", () => {
  /** Counts its checks. */
  const meansOf = (name: string, result: CheckResult): ChoiceMeans & { checks: number } => {
    const means = {
      cacheDir: join(folder, name),
      gpus: [GPU],
      mark: "driver 1",
      checks: 0,
      check: async () => {
        means.checks++;
        return result;
      },
    };
    return means;
  };

  test("takes the CPU where there is no GPU, without a check", async () => {
    const means = meansOf("none", passed());
    expect(await chooseDevice("auto", { ...means, gpus: [] })).toEqual({
      device: "cpu",
      reason: "there is no GPU on this machine",
      notes: ["--device auto takes cpu: there is no GPU on this machine"],
    });
    expect(means.checks).toBe(0);
  });

  test("checks a GPU once for each version of its driver", async () => {
    const means = meansOf("good", passed());
    for (let i = 0; i < 2; i++) {
      const { device, notes } = await chooseDevice("auto", means);
      expect(device).toBe("webgpu");
      expect(notes[0]).toMatch(
        /^--device auto takes webgpu: products 10 times as fast as the CPU's; loss 1.0e-7/,
      );
      expect(notes).toHaveLength(2); // and how the device was tested
    }
    expect(means.checks).toBe(1);
    await chooseDevice("auto", Object.assign(means, { mark: "driver 2" }));
    expect(means.checks).toBe(2);
  });

  test("takes the CPU where no GPU passes, says why, and remembers it", async () => {
    const means = meansOf("bad", { state: "crashed", message: "the process ended by SIGSEGV" });
    for (let i = 0; i < 2; i++)
      expect(await chooseDevice("auto", means)).toEqual({
        device: "cpu",
        reason: "webgpu: the process ended by SIGSEGV",
        notes: ["--device auto takes cpu: webgpu: the process ended by SIGSEGV"],
      });
    expect(means.checks).toBe(1);
  });

  test("a named device is taken as it is", async () => {
    expect(await chooseDevice("cpu")).toEqual({ device: "cpu", reason: null, notes: [] });
    expect((await chooseDevice("webgpu")).notes).toHaveLength(1);
  });
});

test("GPUs are those that the kernel has a driver for", async () => {
  const root = join(folder, "root");
  expect(gpusHere("linux", root)).toEqual([]);
  expect(gpusHere("darwin", root)).toBeNull();
  const device = join(root, "sys/class/drm/renderD128/device");
  await mkdir(device, { recursive: true });
  await mkdir(join(root, "dev/dri"), { recursive: true });
  await writeFile(join(device, "vendor"), "0x1002\n");
  await writeFile(join(device, "mem_info_vram_total"), "8589934592\n");
  await symlink("../../../drivers/amdgpu", join(device, "driver"));
  expect(gpusHere("linux", root)).toEqual([]); // not passed on to this container
  await writeFile(join(root, "dev/dri/renderD128"), "");
  await writeFile(join(root, "dev/nvidia0"), "");
  expect(gpusHere("linux", root)).toEqual([{ name: "AMD (amdgpu)", memoryBytes: 2 ** 33 }, GPU]);
});

test.runIf(process.platform === "linux")("what a device lacks is named file by file", async () => {
  expect(await missingFiles("cpu")).toEqual([]);
  for (const sentence of await missingFiles("cuda"))
    expect(sentence).toMatch(/(lacks|has no) lib(onnxruntime_providers|cu)\w*\.so/);
});

describe("installing a provider", () => {
  const sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of "test"
  const WHEEL = { name: "carrier", version: "1.0", wheelBytes: 10 };
  const file = (name: string) => ({
    name,
    pieces: [{ package: WHEEL, member: name }],
    sizeBytes: 4,
    sha256,
  });
  const NEEDS: DeviceNeeds = {
    besideEngine: ["liba.so", "libb.so"],
    libraries: [],
    carrier: { engine: "9.9", content: { package: WHEEL, files: [file("liba.so"), file("libb.so")] } },
  };
  /** As pip would leave it. */
  const fetch: typeof fetchPackaged = async (content, { cacheDir }) => {
    const path = packagedPath(content, cacheDir);
    await mkdir(path, { recursive: true });
    for (const { name } of content.files) await writeFile(join(path, name), "test");
    return path;
  };

  test("puts its files beside the engine, and takes those that are there as they are", async () => {
    const target = join(folder, "engine");
    await mkdir(target);
    await writeFile(join(target, "liba.so"), "damaged");
    process.env.LOWRANK_CACHE = join(folder, "install-cache");
    const options = { needs: NEEDS, folder: target, version: "9.9", fetch };
    const files = ["liba.so", "libb.so"].map((name) => join(target, name));
    for (let i = 0; i < 2; i++) expect(await installDevice("cuda", options)).toMatchObject({ files });
    for (const path of files) expect(await readFile(path, "utf8")).toBe("test");
    expect((await readdir(target)).sort()).toEqual(["liba.so", "libb.so"]);
    delete process.env.LOWRANK_CACHE;
  });

  test("is refused for another version of the engine, and where nothing is known", async () => {
    const other = await errorOf(installDevice("cuda", { needs: NEEDS, version: "9.8", fetch }));
    expect(other.message).toBe(
      'the provider of device "cuda" is known for ONNX Runtime 9.9, and here is 9.8',
    );
    const none = await errorOf(installDevice("cpu", { fetch }));
    expect(none.message).toContain('there is nothing to install for device "cpu" on');
    const unknown = await errorOf(installDevice("tpu" as "cpu", { fetch }));
    expect(unknown.message).toContain('unknown device "tpu"');
  });
});
