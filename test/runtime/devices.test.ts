import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { importsOf, sourceFiles } from "../../scripts/source-imports.mjs";
import { RuntimeError, UnsupportedError } from "../../src/errors.ts";
import { gradients } from "../../src/graph/gradients.ts";
import { BLOCK_PRODUCT } from "../../src/graph/ops/blocks.ts";
import { mul, sumAll } from "../../src/graph/ops/index.ts";
import { input, type Value } from "../../src/graph/value.ts";
import type { Features } from "../../src/runtime/backend.ts";
import { createRuntime } from "../../src/runtime/create-runtime.ts";
import {
  checkDevice,
  DEFAULT_DEVICE,
  DEVICES,
  deviceSettings,
  devicesHere,
  deviceWarnings,
} from "../../src/runtime/device.ts";
import { BROWSER_DEVICES } from "../../src/runtime/devices/browser-table.ts";
import { cpu } from "../../src/runtime/devices/cpu.ts";
import type { DeviceSpec } from "../../src/runtime/devices/spec.ts";
import { DEVICE_TABLE } from "../../src/runtime/devices/table.ts";
import { createOrtBackend } from "../../src/runtime/ort-backend.ts";
import { openOrtNode } from "../../src/runtime/ort-node.ts";
import type { OrtPackage } from "../../src/runtime/ort-session.ts";
import { errorOf } from "../error-of.ts";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));
const RUNTIME = join(SOURCE, "runtime");
const ALL_NAMES = [...new Set([...DEVICES, ...Object.keys(BROWSER_DEVICES)])];
const PLATFORMS = ["linux", "win32", "darwin"];

describe("the table", () => {
  test("holds every file of a device, under its name", () => {
    const other = ["spec.ts", "table.ts", "browser-table.ts", "untested.ts"];
    const files = readdirSync(join(RUNTIME, "devices")).filter((name) => !other.includes(name));
    expect(ALL_NAMES.map((name) => `${name}.ts`).sort()).toEqual(files.sort());
    for (const table of [DEVICE_TABLE, BROWSER_DEVICES])
      for (const [name, spec] of Object.entries(table)) expect(spec.name).toBe(name);
  });

  test("has a default that is tested and everywhere", () => {
    const { notice, isAlwaysThere, platforms } = DEVICE_TABLE[DEFAULT_DEVICE];
    expect([notice, isAlwaysThere, platforms]).toEqual([null, true, PLATFORMS]);
    expect(deviceSettings.device.parse(undefined)).toBe(DEFAULT_DEVICE);
  });

  test.each(DEVICES)("%s is refused where its platform cannot have it", (device) => {
    const { platforms } = DEVICE_TABLE[device];
    expect(platforms.length).toBeGreaterThan(0);
    for (const platform of [...PLATFORMS, "freebsd"]) {
      const isHere = platforms.includes(platform);
      expect(devicesHere(platform).includes(device)).toBe(isHere);
      if (isHere) checkDevice(device, platform);
      else
        expect(() => checkDevice(device, platform)).toThrow(
          new UnsupportedError(
            `device "${device}" is not available on ${platform}; it runs on ${platforms.join(", ")}. Use --device cpu.`,
          ),
        );
    }
  });

  // Its conformance tests run in backend.test.ts.
  test("only the CPU is tested on every machine; of any other device its user is told, once", () => {
    expect(deviceWarnings("cpu")).toEqual([]);
    for (const device of DEVICES.filter((name) => name !== "cpu")) {
      const how =
        device === "webgpu"
          ? "was tested on Mesa's software driver alone, not on a GPU"
          : "is not tested: no test runs on it";
      expect(deviceWarnings(device)).toEqual([
        `device "${device}" ${how}, so compare its results with those of --device cpu`,
      ]);
    }
  });
});

test("nothing outside of the devices' files asks for one by its name", () => {
  const name = new RegExp(`["'\`](${ALL_NAMES.join("|")})["'\`]`);
  const files = sourceFiles(SOURCE).filter((path) => !path.startsWith(join(RUNTIME, "devices")));
  expect(files.filter((path) => name.test(readFileSync(path, "utf8")))).toEqual([]);
});

/** A file and those that it imports, and so on, which import something of Node or its package of ONNX Runtime to run. */
function needingNode(path: string, seen: Set<string> = new Set()): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  const needs = /^(import|export) (?!type )[^;]* from "(node:|onnxruntime)/m.test(readFileSync(path, "utf8"));
  return [...(needs ? [path] : []), ...importsOf(path).flatMap((target) => needingNode(target, seen))];
}

test.each(["create-runtime.ts", "ort-backend.ts", "devices/table.ts", "browser-runtime.ts"])(
  "%s runs in a browser too",
  (name) => {
    expect(needingNode(join(RUNTIME, name))).toEqual([]);
  },
);

test("what runs in Node alone is known", () => {
  const names = needingNode(join(RUNTIME, "runtime.ts")).map((path) => relative(RUNTIME, path));
  expect(names).toEqual(expect.arrayContaining(["runtime.ts", "thread.ts", "graph-file.ts"]));
});

/** ONNX Runtime that only notes what it is told. */
function noted(create: (options: ort.InferenceSession.SessionOptions) => void = () => {}) {
  const calls: ort.InferenceSession.SessionOptions[] = [];
  const InferenceSession = {
    create: async (_graph: unknown, options: ort.InferenceSession.SessionOptions) => {
      create(options);
      calls.push(options);
      return { release: async () => {} };
    },
  };
  const engine = { InferenceSession, Tensor: null, providers: ["cpu", "fast"] } as unknown as OrtPackage;
  return { engine, calls };
}

/** A device of which nothing else knows. */
const FAKE: DeviceSpec = {
  name: "fake",
  platforms: ["linux"],
  providers: ["fast", "cpu"],
  isAlwaysThere: false,
  features: { ...cpu.features, packedOperators: ["Conv"] },
  fallsBack: true,
  lowering: null,
  needs: {},
  mayBeChosen: false,
  hasBuffers: false,
  notice: null,
};

describe("a device is one object", () => {
  const request = {
    graph: { path: "graph" },
    operators: ["Add"],
    prepack: false,
    arena: false,
    profile: "at",
  };

  test("ONNX Runtime is told what it states", async () => {
    const { engine, calls } = noted();
    const backend = createOrtBackend(engine, FAKE, 3);
    expect(backend.supports).toBe(FAKE.features);
    await backend.load(request);
    await backend.load({ ...request, operators: ["Add", "Conv"], profile: null });
    await backend.load({ ...request, prepack: true });
    expect(calls[0]).toMatchObject({
      executionProviders: ["fast", "cpu"],
      intraOpNumThreads: 3,
      enableCpuMemArena: false,
      enableProfiling: true,
      profileFilePrefix: "at",
    });
    expect(calls[1]).not.toHaveProperty("enableProfiling");
    const packed = calls.map(({ extra }) => Object(extra?.session).disable_prepacking);
    expect(packed).toEqual(["1", "0", "0"]);
  });

  test("where it is missing, the error says what is there; where its graph is wrong, what is wrong", async () => {
    const fails = (isMissing: boolean) =>
      noted(({ intraOpNumThreads }) => {
        if (isMissing || intraOpNumThreads !== undefined)
          throw new Error("x was false. No such thing.\nat y.cc");
      }).engine;
    const missing = await errorOf(createOrtBackend(fails(true), FAKE, 1).load(request));
    expect(missing).toBeInstanceOf(UnsupportedError);
    expect(missing.message).toBe(
      'device "fake" cannot be used on this machine (the execution engine here is built for cpu, fast). Use --device cpu. ' +
        "The engine says: No such thing.",
    );
    const wrong = await errorOf(createOrtBackend(fails(false), FAKE, 1).load(request));
    expect(wrong).toBeInstanceOf(RuntimeError);
    const there = { ...FAKE, isAlwaysThere: true };
    expect(await errorOf(createOrtBackend(fails(true), there, 1).load(request))).toBeInstanceOf(RuntimeError);
  });

  test("it computes, and refuses graphs that need what it lacks", async () => {
    const x = input("x", "float32", [2]);
    const squares = sumAll(mul(x, x));
    const gradient = { dx: gradients(squares, [x])[0] as Value };
    const runtimeWith = (features: Partial<Features>) => {
      const spec = {
        ...FAKE,
        providers: ["cpu"],
        features: { ...cpu.features, mappedWeights: false, ...features },
      };
      const place = <T>(
        bytes: Uint8Array,
        _: unknown,
        load: (of: { bytes: Uint8Array; files: object }) => T,
      ) => load({ bytes, files: {} });
      return createRuntime(openOrtNode(spec as DeviceSpec, 1), place as never, {
        device: "fake",
        threads: 1,
      });
    };
    const feeds = { x: { dtype: "float32", shape: [2], data: Float32Array.of(3, 4) } } as const;
    const able = runtimeWith({});
    expect((await (await able.load({ squares })).run(feeds)).squares?.data[0]).toBe(25);
    expect((await (await able.load(gradient)).run(feeds)).dx?.data).toEqual(Float32Array.of(6, 8));
    await able.close();

    const unable = runtimeWith({ gradients: false, profile: false, dtypes: ["float32"] });
    await unable.load({ squares });
    const refusals: [Promise<unknown>, string][] = [
      [unable.load(gradient), "cannot train: the gradients that it computes are wrong"],
      [unable.load({ squares }, { profile: "p" }), "writes no profile"],
      [unable.load({ y: input("y", "int64", [1]) }), "takes no int64"],
    ];
    for (const [load, reason] of refusals) {
      const error = await errorOf(load);
      expect(error).toBeInstanceOf(UnsupportedError);
      expect(error.message).toBe(`device "fake" ${reason}. Use --device cpu.`);
    }
    await unable.close();
  });
});

test("the device whose products need packed blocks says so", () => {
  expect(cpu.features.packedOperators).toContain(BLOCK_PRODUCT);
});
