import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DEFAULT_LORA_CONFIG, type LoraConfig, readPeftConfig } from "../../../src/formats/peft/config.ts";
import { pythonRegExp } from "../../../src/formats/peft/python-regex.ts";
import {
  alphaOf,
  isSavedModule,
  type ModuleInfo,
  matchTargets,
  rankOf,
  scalingOf,
} from "../../../src/formats/peft/targets.ts";

interface Layer {
  readonly rank: number;
  readonly alpha: number;
  readonly scaling: number;
}
interface Case {
  readonly model: string;
  readonly config: Record<string, unknown>;
  readonly layers?: Record<string, Layer>;
  readonly error?: string;
}
const fixture = JSON.parse(
  readFileSync(new URL("../../fixtures/peft/matching.json", import.meta.url), "utf8"),
) as { models: Record<string, ModuleInfo[]>; cases: Case[] };
const llama = fixture.models.llama ?? [];

function match(change: Partial<LoraConfig>): ReturnType<typeof matchTargets> {
  return matchTargets(llama, { ...DEFAULT_LORA_CONFIG, ...change });
}
const messages = (change: Partial<LoraConfig>): string[] =>
  match(change).problems.map((p) => `${p.where}: ${p.message}`);

describe("matching equals PEFT's", () => {
  it.each(fixture.cases)("$model $config", ({ model, config, layers, error }) => {
    const parsed = readPeftConfig({ peft_type: "LORA", ...config }, "case").config;
    const { matched, problems } = matchTargets(fixture.models[model] ?? [], parsed);
    if (error !== undefined) {
      expect(matched).toEqual([]);
      expect(problems).not.toEqual([]);
      return;
    }
    expect([...matched].sort()).toEqual(Object.keys(layers ?? {}).sort());
    for (const [name, layer] of Object.entries(layers ?? {})) {
      expect([name, rankOf(parsed, name), alphaOf(parsed, name)]).toEqual([name, layer.rank, layer.alpha]);
      // One division and one square root in float64 on both sides.
      expect(scalingOf(parsed, name)).toBeCloseTo(layer.scaling, 14);
    }
  });

  it("covers errors and successes", () => {
    expect(fixture.cases.length).toBeGreaterThan(25);
    expect(fixture.cases.filter((c) => c.error !== undefined).length).toBeGreaterThan(2);
  });
});

describe("problems", () => {
  it("lists the kinds of module when nothing matches", () => {
    expect(messages({ targetModules: ["q_prj", "v_proj"] })).toEqual([
      'target_modules: "q_prj" matches no module; this model has: embed_tokens, q_proj, k_proj, v_proj, o_proj, ' +
        "gate_proj, up_proj, down_proj, lm_head",
    ]);
    expect(messages({ targetModules: ["q_proj"], layersToTransform: [7] })[0]).toMatch(
      /"q_proj".*in layers 7/,
    );
    expect(messages({ targetModules: "nothing" })[0]).toMatch(/"nothing" matches no module/);
  });

  it("names modules that cannot be adapted, exclusions and patterns without effect, and bad patterns", () => {
    expect(messages({ targetModules: ["norm", "q_proj"] })).toEqual([
      "model.norm: is neither a linear layer nor an embedding",
    ]);
    expect(
      messages({ excludeModules: ["nope"], rankPattern: { nope: 2 }, alphaPattern: { q_proj: 2 } }),
    ).toEqual(["exclude_modules: excludes no module", 'rank_pattern: "nope" matches no adapted module']);
    expect(messages({ targetModules: "(" })[0]).toMatch(/^target_modules: regular expression "\("/);
    expect(messages({})).toEqual([]);
  });

  it("selects layers of all-linear too", () => {
    expect(match({ layersToTransform: [1] }).matched.every((n) => n.includes("layers.1."))).toBe(true);
    expect(match({ layersToTransform: [1] }).matched).toHaveLength(7);
  });

  it("knows saved modules and their parts", () => {
    const config = { ...DEFAULT_LORA_CONFIG, modulesToSave: ["mlp", "lm_head"] };
    expect(isSavedModule(config, "model.layers.0.mlp.up_proj")).toBe(true);
    expect(isSavedModule(config, "lm_head")).toBe(true);
    expect(isSavedModule(config, "model.layers.0.self_attn.q_proj")).toBe(false);
    expect(isSavedModule({ ...config, modulesToSave: ["norm"] }, "model.layers.1.input_layernorm")).toBe(
      true,
    );
  });
});

describe("pythonRegExp", () => {
  it.each([
    ["(?P<a>x)(?P=a)", "xx", true],
    ["(?P<a>x)(?P=a)", "xy", false],
    ["a{,2}", "aa", true],
    ["a{,2}", "aaa", false],
    ["[]a]+", "]a", true],
    ["[^]a]", "b", true],
    ["[^]a]", "]", false],
    ["[(?P<]+", "P?", true],
    ["\\Aab\\Z", "ab", true],
    ["a(?#note)b", "ab", true],
    ["(?i)AB", "ab", true],
    ["\\(\\?P<", "(?P<", true],
    ["a|b", "ab", false],
  ])("%s on %s: %s", (pattern, text, matches) => {
    expect(pythonRegExp(pattern, true).test(text)).toBe(matches);
  });

  it.each(["(?x)a b", "(?>a)", "a++", "(", "[a"])("refuses %s", (pattern) => {
    expect(() => pythonRegExp(pattern, true)).toThrow(/regular expression/);
  });
});
