import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BusyError, InputError, NotFoundError } from "../../src/errors.ts";
import type { Engine, EngineRequest } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { loadModel } from "../../src/generate/model.ts";
import { openBase } from "../../src/models/base-model.ts";
import { random } from "../../src/tensor/random.ts";
import { errorOf } from "../error-of.ts";
import { fixturePath, makeAdapter } from "../peft/adapters.ts";

const MODEL = fixturePath("models/llama");
const ACCESS = { model: MODEL, offline: true, threads: 1 };

/** Adapters of different ranks and matrices. */
const ADAPTERS = {
  qv: { rank: 2, targetModules: ["q_proj", "v_proj"] },
  qkvo: { rank: 5, targetModules: ["q_proj", "k_proj", "v_proj", "o_proj"] },
  all: { rank: 3, targetModules: "all-linear" },
  head: { rank: 2, targetModules: ["lm_head", "v_proj"] },
  dora: { rank: 2, targetModules: ["q_proj"], dora: true },
} as const;

let folder: string;
let engine: Engine;

async function open(options: { maxBatch?: number; maxQueue?: number } = {}): Promise<Engine> {
  const opened = await openEngine({ ...ACCESS, ...options });
  for (const name of Object.keys(ADAPTERS)) await opened.loadAdapter(name, join(folder, name));
  return opened;
}

async function textOf(of: Engine, request: EngineRequest): Promise<string> {
  const pieces = of.generate(request);
  for (;;) {
    const next = await pieces.next();
    if (next.done) return JSON.stringify([next.value.ids, next.value.finishReason]);
  }
}

/** What the model answers that one call at a time has. */
async function alone(request: EngineRequest): Promise<string> {
  const weights = request.adapters ?? {};
  const adapters = Object.fromEntries(Object.keys(weights).map((name) => [name, join(folder, name)]));
  const model = await loadModel({ ...ACCESS, adapters, weights });
  const { ids, finishReason } = await model.generateText(request);
  await model.close();
  return JSON.stringify([ids, finishReason]);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  const base = await openBase(MODEL, { offline: true });
  let seed = 1;
  for (const [name, { targetModules, ...config }] of Object.entries(ADAPTERS)) {
    await mkdir(join(folder, name), { recursive: true });
    const targets = typeof targetModules === "string" ? targetModules : [...targetModules];
    await makeAdapter(base, join(folder, name), { ...config, targetModules: targets }, seed++);
  }
  engine = await open();
});
afterAll(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const WORDS = "the quick brown fox jumps over a lazy dog and runs away from it all day long".split(" ");

/** A request of its own: prompts of different lengths, some of which begin alike. */
function requestOf(i: number): EngineRequest {
  const mixtures: Record<string, number>[] = [
    {},
    { qv: 1 },
    { qkvo: 1 },
    { all: 1 },
    { qv: 0.5, all: 1.5 },
    { dora: 1 },
    { head: 1 },
  ];
  const words = Array.from(
    { length: 3 + ((i * 37) % 40) },
    (_, k) => WORDS[(k * (1 + (i % 3))) % WORDS.length],
  );
  return { prompt: words.join(" "), raw: true, maxTokens: 4 + (i % 9), adapters: mixtures[i % 7] as never };
}

describe("many requests", () => {
  it("16 in random order, of base, adapters and mixtures, are answered as each alone", async () => {
    const requests = Array.from({ length: 16 }, (_, i) => requestOf(i));
    const expected: string[] = [];
    for (const request of requests) expected.push(await alone(request));
    const generator = random(1, "order");
    for (let round = 0; round < 3; round++) {
      const order = requests.map((_, i) => [generator.uniform(), i] as const).sort(([a], [b]) => a - b);
      const found: string[] = [];
      await Promise.all(
        order.map(async ([wait, i]) => {
          await new Promise((resolve) => setTimeout(resolve, 40 * wait));
          found[i] = await textOf(engine, requests[i] as EngineRequest);
        }),
      );
      expect(found).toEqual(expected);
    }
    expect(engine.status).toMatchObject({ running: 0, waiting: 0 });
  });

  it("a prompt that begins as one before is answered the same, with fewer tokens computed", async () => {
    const like = requestOf(1);
    const long = { ...like, prompt: `Unlike any before: ${like.prompt}` };
    const again = { ...long, prompt: `${long.prompt} and then`, maxTokens: 6 };
    const before = engine.status.promptTokens;
    const first = await textOf(engine, long);
    const middle = engine.status.promptTokens;
    expect(await textOf(engine, again)).toBe(await alone(again));
    expect(await textOf(engine, long)).toBe(first);
    const last = engine.status.promptTokens;
    expect(last - middle).toBeLessThan(middle - before);
  });

  it("an adapter that is loaded anew under its name answers by itself, not by what was kept of the old one", async () => {
    const other = await open();
    const request = { ...requestOf(7), adapters: { one: 1 } };
    await other.loadAdapter("one", join(folder, "qv"));
    const first = await textOf(other, request);
    await other.loadAdapter("one", join(folder, "qkvo"));
    const second = await textOf(other, request);
    expect(second).not.toBe(first);
    expect(second).toBe(await alone({ ...request, adapters: { qkvo: 1 } }));
    await other.close();
  });
});

describe("limits", () => {
  it("what finds no place waits, and beyond the queue it is refused", async () => {
    const small = await open({ maxBatch: 2, maxQueue: 3 });
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, (_, i) => textOf(small, requestOf(i))),
    );
    const refused = results.filter((r) => r.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.every((r) => r.reason instanceof BusyError)).toBe(true);
    expect(refused.length).toBeLessThanOrEqual(7);
    await small.close();
  });

  it("a place is free when somebody leaves or aborts", async () => {
    const small = await open({ maxBatch: 1, maxQueue: 4 });
    const long = { ...requestOf(1), maxTokens: 200 };
    const leaving = small.generate(long);
    await leaving.next();
    await leaving.return(undefined as never);
    const aborter = new AbortController();
    const aborted = textOf(small, { ...long, signal: aborter.signal });
    setTimeout(() => aborter.abort(), 30);
    expect(JSON.parse(await aborted)[1]).toBe("aborted");
    expect(await textOf(small, requestOf(2))).toBe(await alone(requestOf(2)));
    expect(small.status.running).toBe(0);
    await small.close();
  });

  it("wrong requests, unknown adapters and options are errors that say so", async () => {
    expect(await errorOf(textOf(engine, { prompt: "a", maxTokens: 0 }))).toBeInstanceOf(InputError);
    expect(await errorOf(textOf(engine, { prompt: "a", adapters: { none: 1 } }))).toBeInstanceOf(
      NotFoundError,
    );
    expect(await errorOf(textOf(engine, { prompt: "a", adapters: { qv: Number.NaN } }))).toBeInstanceOf(
      InputError,
    );
    expect(await errorOf(openEngine({ ...ACCESS, maxBatch: 0 }))).toBeInstanceOf(InputError);
    expect(await errorOf(engine.unloadAdapter("none"))).toBeInstanceOf(NotFoundError);
  });
});
