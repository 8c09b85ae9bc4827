import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { InputError, UnsupportedError } from "../../../src/errors.ts";
import {
  DEFAULT_LORA_CONFIG,
  type LoraConfig,
  peftConfigText,
  readPeftConfig,
} from "../../../src/formats/peft/config.ts";

const FIXTURES = new URL("../../fixtures/peft/", import.meta.url);
const minimal = { peft_type: "LORA", target_modules: ["q_proj"] };
const read = (json: unknown): LoraConfig => readPeftConfig(json, "a.json").config;

function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

describe("readPeftConfig", () => {
  it("takes PEFT's defaults for what the file leaves out", () => {
    expect(read(minimal)).toEqual({
      ...DEFAULT_LORA_CONFIG,
      rank: 8,
      alpha: 8,
      targetModules: ["q_proj"],
      init: "kaiming-uniform",
      taskType: null,
    });
  });

  it("reads what PEFT wrote", () => {
    const json = JSON.parse(readFileSync(new URL("patterns/adapter_config.json", FIXTURES), "utf8"));
    const { config, warnings } = readPeftConfig(json, "a.json");
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      rank: 4,
      alpha: 6,
      bias: "lora_only",
      rsLora: true,
      taskType: "CAUSAL_LM",
    });
    expect(config.rankPattern).toEqual({ "layers.1.self_attn.v_proj": 3, down_proj: 2 });
    expect(config.alphaPattern).toEqual({ v_proj: 5 });
    expect([...config.targetModules].sort()).toEqual(["down_proj", "q_proj", "v_proj"]);
  });

  it("takes single values where PEFT allows them for lists, and empty ones as not set", () => {
    const config = read({
      ...minimal,
      layers_to_transform: 1,
      layers_pattern: "layers",
      exclude_modules: [],
    });
    expect(config).toMatchObject({ layersToTransform: [1], layersPattern: ["layers"], excludeModules: null });
    expect(read({ ...minimal, layers_to_transform: [], layers_pattern: "" })).toMatchObject({
      layersToTransform: null,
      layersPattern: null,
    });
  });

  it("drops unknown keys and says so", () => {
    const { warnings, raw } = readPeftConfig({ ...minimal, use_magic: true }, "a.json");
    expect(warnings).toEqual(['a.json: unknown key "use_magic" is ignored']);
    expect(raw.use_magic).toBe(true);
  });

  it("reports everything that is wrong at once", () => {
    const bad = {
      ...{ r: 0, lora_alpha: Number.NaN, lora_dropout: 1, bias: "some", target_modules: null },
      rank_pattern: { a: 65537 },
    };
    const error = thrown(() => read(bad)) as InputError;
    expect(error).toBeInstanceOf(InputError);
    expect(error.problems.map((p) => p.where).sort()).toEqual([
      ...["bias", "lora_alpha", "lora_dropout", "peft_type", "r", "rank_pattern.a", "target_modules"],
    ]);
  });

  it.each([-1, 2.5, 65537, "8"])("refuses rank %s", (r) => {
    expect(() => read({ ...minimal, r })).toThrow(InputError);
  });

  it("refuses layer selection beside a pattern, as PEFT does", () => {
    const json = { peft_type: "LORA", target_modules: "all-linear", layers_to_transform: [0] };
    expect(() => read(json)).toThrow(/layers_to_transform: cannot be used when target_modules is a string/);
    expect(() => read({ ...minimal, layers_pattern: ["h"] })).toThrow(
      /layers_pattern: needs layers_to_transform/,
    );
  });

  it("refuses what is not implemented, naming every key", () => {
    const json = { ...minimal, use_qalora: true, target_parameters: ["w"], trainable_token_indices: [1] };
    const error = thrown(() => read(json));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toBe(
      "a.json: not supported yet: use_qalora, target_parameters, trainable_token_indices",
    );
    expect(thrown(() => read({ ...minimal, init_lora_weights: "pissa_niter_4" })).message).toMatch(
      /init_lora_weights: "pissa_niter_4"/,
    );
    expect(thrown(() => read({ peft_type: "IA3" })).message).toMatch(/peft_type "IA3" is not supported/);
  });

  it("tells an mlx-lm adapter from a PEFT one", () => {
    expect(thrown(() => read({ lora_parameters: { rank: 8 } })).message).toMatch(/mlx-lm/);
  });
});

describe("peftConfigText", () => {
  it("writes sorted keys with two spaces, for inference", () => {
    const text = peftConfigText({ ...DEFAULT_LORA_CONFIG, rankPattern: { b: 1, a: 2 } });
    const json = JSON.parse(text);
    expect(Object.keys(json)).toEqual(Object.keys(json).sort());
    expect(json).toMatchObject({ inference_mode: true, peft_type: "LORA", r: 16, lora_alpha: 32 });
    expect(text).toContain('\n  "rank_pattern": {\n    "a": 2,\n    "b": 1\n  },\n');
  });

  it("reads back to the same configuration", () => {
    const config: LoraConfig = {
      ...DEFAULT_LORA_CONFIG,
      targetModules: ["q_proj"],
      excludeModules: ".*0.*",
      layersToTransform: [1],
      layersPattern: ["layers"],
      alphaPattern: { q_proj: 0.5 },
      modulesToSave: ["lm_head"],
      baseModel: "org/name",
      revision: "main",
    };
    expect(read(JSON.parse(peftConfigText(config)))).toEqual(config);
  });

  it("does not write what could not be read", () => {
    expect(() => peftConfigText({ ...DEFAULT_LORA_CONFIG, rank: 0, alpha: Number.NaN })).toThrow(InputError);
  });
});
