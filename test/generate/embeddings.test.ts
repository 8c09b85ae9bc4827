import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { BusyError, ContextError, FormatError, InputError, UnsupportedError } from "../../src/errors.ts";
import { type PoolingMode, readPooling } from "../../src/formats/hf/pooling.ts";
import type { Engine, EngineOptions } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { poolingOf } from "../../src/hub/known-names.ts";
import { errorOf } from "../error-of.ts";
import { encoderFolder } from "../models/encoders.ts";
import { fixturePath } from "../peft/adapters.ts";

type Kind = PoolingMode | "normalized";
type Expected = { readonly text: string; readonly ids: number[] } & Readonly<Record<Kind, number[]>>;
type Fixture = Readonly<Record<"bert" | "roberta", Readonly<Record<"base" | "adapter", Expected[]>>>>;

/** Of vectors up to 30 long: sums of 32-bit floats in another order; seen: 2e-6. */
const TOLERANCE = 5e-6;

const MODES: readonly PoolingMode[] = ["mean", "mean_sqrt_len", "weightedmean", "cls", "lasttoken"];
const KEYS: Readonly<Record<PoolingMode, string>> = {
  mean: "pooling_mode_mean_tokens",
  mean_sqrt_len: "pooling_mode_mean_sqrt_len_tokens",
  weightedmean: "pooling_mode_weightedmean_tokens",
  cls: "pooling_mode_cls_token",
  lasttoken: "pooling_mode_lasttoken",
};

let folder: string;
let expected: Fixture;
let engine: Engine | null = null;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-test-"));
  expected = JSON.parse(await readFile(fixturePath("embeddings/embeddings.json"), "utf8")) as Fixture;
});
afterEach(async () => {
  await engine?.close();
  engine = null;
});
afterAll(() => rm(folder, { recursive: true }));

async function open(model: string, options: Partial<EngineOptions> = {}): Promise<Engine> {
  engine = await openEngine({
    model,
    cacheFolder: join(folder, "cache"),
    offline: true,
    threads: 1,
    ...options,
  });
  return engine;
}

let copies = 0;

/** An encoder as sentence-transformers saves it. */
async function saved(
  name: string,
  config: object,
  modules: readonly string[],
  length?: number,
): Promise<string> {
  const path = join(folder, `saved${copies++}`);
  await cp(encoderFolder(name), path, { recursive: true });
  await mkdir(join(path, "1_Pooling"));
  await writeFile(join(path, "1_Pooling", "config.json"), JSON.stringify(config));
  const paths: Readonly<Record<string, string>> = {
    Transformer: "",
    Pooling: "1_Pooling",
    Normalize: "2_Normalize",
  };
  const list = modules.map((kind, idx) => {
    return { idx, name: `${idx}`, path: paths[kind] ?? "2", type: `sentence_transformers.models.${kind}` };
  });
  await writeFile(join(path, "modules.json"), JSON.stringify(list));
  if (length !== undefined)
    await writeFile(join(path, "sentence_bert_config.json"), JSON.stringify({ max_seq_length: length }));
  return path;
}

function close(found: readonly Float32Array[], wanted: readonly number[][]): void {
  expect(found).toHaveLength(wanted.length);
  const worst = found.map((vector, i) =>
    Math.max(...Array.from(vector, (x, k) => Math.abs(x - (wanted[i]?.[k] ?? Number.NaN)))),
  );
  for (const difference of worst) expect(difference).toBeLessThan(TOLERANCE);
}

const stated = (mode: PoolingMode): object =>
  Object.fromEntries(Object.values(KEYS).map((key) => [key, key === KEYS[mode]]));

it.each(["bert", "roberta"] as const)(
  "%s without files of sentence-transformers: the mean, which is said, as transformers has it; with an adapter as PEFT",
  async (name) => {
    const { base, adapter } = expected[name];
    const opened = await open(encoderFolder(name));
    expect(opened.base.warnings.filter((text) => text.includes("mean over tokens"))).toHaveLength(1);
    await opened.loadAdapter("lora", join(encoderFolder(name), "adapter"));
    const inputs = base.map(({ text }) => text);
    const whole = await opened.embed({ inputs });
    expect(whole.promptTokens).toBe(base.reduce((n, { ids }) => n + ids.length, 0));
    close(
      whole.vectors,
      base.map(({ mean }) => mean),
    );
    const adapted = await opened.embed({ inputs, adapters: { lora: 1 } });
    close(
      adapted.vectors,
      adapter.map(({ mean }) => mean),
    );
    // Alone, as tokens, and beside others, the base after the adapter too.
    for (const { text, ids, mean } of base)
      for (const input of [text, ids]) close((await opened.embed({ inputs: [input] })).vectors, [mean]);
    const many = Array.from({ length: 70 }, (_, i) => inputs[i % inputs.length] as string);
    const all = await Promise.all([
      opened.embed({ inputs: many }),
      opened.embed({ inputs: many, adapters: { lora: 1 } }),
    ]);
    close(
      all[0].vectors,
      many.map((_, i) => base[i % inputs.length]?.mean ?? []),
    );
    close(
      all[1].vectors,
      many.map((_, i) => adapter[i % inputs.length]?.mean ?? []),
    );
    // The head of the adapter is of no account here, its update is.
    const half = await errorOf(opened.embed({ inputs, adapters: { lora: 0.5 } }));
    expect(half).toBeInstanceOf(InputError);
    expect(await errorOf(opened.embed({ inputs, adapters: { lora: 1, other: 1 } }))).toBeInstanceOf(
      InputError,
    );
  },
);

it.each(MODES)("pooling %s, as the model's files say", async (mode) => {
  const { base } = expected.bert;
  const opened = await open(await saved("bert", stated(mode), ["Transformer", "Pooling"]));
  expect(opened.base.warnings).toEqual([]);
  const { vectors } = await opened.embed({ inputs: base.map(({ text }) => text) });
  close(
    vectors,
    base.map((one) => one[mode]),
  );
});

it("normalized vectors and the longest text, as the model's files say", async () => {
  const { base } = expected.bert;
  const model = await saved("bert", { pooling_mode: "mean" }, ["Transformer", "Pooling", "Normalize"], 13);
  const opened = await open(model);
  expect(opened.contextLength).toBe(13);
  const short = base.filter(({ ids }) => ids.length <= 13);
  const { vectors } = await opened.embed({ inputs: short.map(({ text }) => text) });
  close(
    vectors,
    short.map(({ normalized }) => normalized),
  );
  const long = await errorOf(opened.embed({ inputs: base.map(({ text }) => text) }));
  expect(long).toBeInstanceOf(ContextError);
  expect(long.message).toContain("input[2]: has 23 tokens; this model takes at most 13");
  await opened.close();
  expect((await open(model, { contextLength: 40 })).contextLength).toBe(40);
});

it("a known model is pooled as its repository says, whatever its package leaves out", () => {
  const pooling = { mode: "mean", isNormalized: true, maxLength: 256 };
  for (const name of ["minilm-l6", "sentence-transformers/all-MiniLM-L6-v2"])
    expect(poolingOf(name)).toEqual(pooling);
  expect(poolingOf("smollm2-135m")).toBeNull();
  expect(poolingOf("org/other")).toBeNull();
});

it("files that say something else are refused", async () => {
  const unsupported: [object, string[], RegExp][] = [
    [
      { pooling_mode_max_tokens: true },
      ["Transformer", "Pooling"],
      /pooling by pooling_mode_max_tokens is not supported/,
    ],
    [
      { ...stated("mean"), pooling_mode_cls_token: true },
      ["Pooling"],
      /pooling_mode_cls_token and pooling_mode_mean_tokens/,
    ],
    [{}, ["Pooling"], /pooling by nothing/],
    [stated("mean"), ["Transformer", "Pooling", "Dense"], /models\.Dense/],
  ];
  for (const [config, modules, message] of unsupported) {
    const error = await errorOf(readPooling(await saved("bert", config, modules)));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(message);
  }
  const path = await saved("bert", stated("mean"), ["Pooling"]);
  for (const text of ['{"a": 1}', "[1]", "no json", '[{"type": "a.Pooling", "path": "../elsewhere"}]']) {
    await writeFile(join(path, "modules.json"), text);
    expect(await errorOf(readPooling(path)), text).toBeInstanceOf(FormatError);
  }
  await rm(join(path, "modules.json"));
  expect(await readPooling(path)).toEqual({ mode: "mean", isNormalized: false, maxLength: null });
});

it("what is wrong in a request is told at once; a full queue, a request that is given up and a closed engine end it", async () => {
  const opened = await open(encoderFolder("bert"), { maxBatch: 1, maxQueue: 1 });
  const wrong = await errorOf(opened.embed({ inputs: ["", [1, 171], "x ".repeat(60)] }));
  for (const part of [
    "input[0]: is empty",
    "input[1]: the model has tokens 0 to 170, got 171",
    "input[2]: has 62 tokens",
  ])
    expect(wrong.message).toContain(part);
  const first = opened.embed({ inputs: ["a"] });
  const signal = AbortSignal.abort(new Error("left"));
  const left = opened.embed({ inputs: ["a"], signal }).catch((error: Error) => error.message);
  expect(opened.status).toMatchObject({ running: 1, waiting: 1 });
  expect(await errorOf(opened.embed({ inputs: ["a"] }))).toBeInstanceOf(BusyError);
  expect((await first).vectors).toHaveLength(1);
  expect(await left).toBe("left");
  expect(opened.status).toMatchObject({ running: 0, waiting: 0, promptTokens: 3 });
  const text = await errorOf(opened.generate({ prompt: "a" }).next());
  expect(text).toBeInstanceOf(UnsupportedError);
  const late = errorOf(opened.embed({ inputs: ["a"] }));
  await opened.close();
  engine = null;
  expect((await late).code).toBe("closed");
});
