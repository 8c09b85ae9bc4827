import { mkdir, mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ModelConfig } from "../../../src/formats/model.ts";
import { describeSettings, flagName, nearest } from "../../../src/options/setting.ts";
import { methodSettings, methodsWith } from "../../../src/peft/methods/table.ts";
import { chosenModules } from "../../../src/peft/methods/target-options.ts";
import { type TrainConfig, trainConfig, trainConfigSchema } from "../../../src/train/config/config.ts";
import { completeTrainConfig, loadTrainConfig, saveTrainConfig } from "../../../src/train/config/file.ts";
import { prepareRunFolder } from "../../../src/train/run-folder.ts";

const here = process.cwd();
let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-config-"));
  process.chdir(folder);
});

afterEach(() => process.chdir(here));

function problemsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    return (error as Error).message.split("\n").slice(1);
  }
  return [];
}

async function problemsOfLoading(request: Parameters<typeof loadTrainConfig>[0]): Promise<string[]> {
  return loadTrainConfig(request).then(
    () => [],
    (error: Error) => error.message.split("\n").slice(1),
  );
}

describe("trainConfig", () => {
  test("defaults are complete, and a config is its own input", () => {
    const config = trainConfig();
    expect(config).toMatchObject({ model: "smollm2-135m", data: ["us-addresses"], rank: 16, alpha: 32 });
    expect(config).toMatchObject({ learningRate: 2e-4, schedule: "linear", warmupSteps: 10, clipNorm: 1 });
    expect(trainConfig(config)).toEqual(config);
    const odd = trainConfig({ targetModules: { regex: ".*[qv]_proj" }, layers: [3, 1], warmupRatio: 0.1 });
    expect(trainConfig(odd)).toEqual(odd);
  });

  test("every problem is told at once, under its option", () => {
    expect(
      problemsOf(() =>
        trainConfig({
          rank: 0,
          dropout: 1,
          schedule: "cos" as "cosine",
          rankPattern: { q: 0 },
          layers: "5-2" as never,
        }),
      ),
    ).toEqual([
      "  rank: expected a whole number ≥ 1 and ≤ 65536, got 0",
      "  dropout: expected a number ≥ 0 and < 1, got 1",
      '  layers: expected layers such as 0-5,28 or last:2, got "5-2"',
      '  rankPattern: expected module=rank pairs, ranks ≥ 1, got {"q":0}',
      '  schedule: expected one of constant, linear, cosine, got "cos"',
    ]);
  });

  test("NaN and infinity are refused", () => {
    expect(
      problemsOf(() => trainConfig({ learningRate: Number.NaN, alpha: Number.POSITIVE_INFINITY })).length,
    ).toBe(2);
  });

  test("options that exclude or need each other", () => {
    expect(problemsOf(() => trainConfig({ warmupSteps: 5, warmupRatio: 0.1 }))).toEqual([
      "  warmupRatio: says the same as warmupSteps",
    ]);
    expect(trainConfig({ warmupRatio: 0.1 }).warmupSteps).toBeNull();
    expect(problemsOf(() => trainConfig({ compute: "int8" }))).toEqual([
      "  compute: int8 needs baseBits 8 or 4",
    ]);
    expect(trainConfig({ compute: "int8", baseBits: 8 }).compute).toBe("int8");
    expect(trainConfig({ device: "cuda" }).device).toBe("cuda");
    expect(problemsOf(() => trainConfig({ earlyStopping: 2 }))).toEqual([
      "  earlyStopping: needs validationData or validationFraction",
      "  earlyStopping: needs evalEvery",
    ]);
    expect(
      problemsOf(() => trainConfig({ validationFraction: 0.1, validationData: ["a.jsonl"] })).length,
    ).toBe(1);
  });

  test("modules as names, a list, a regex, or all-linear", () => {
    const targets = (value: unknown): unknown =>
      chosenModules(trainConfig({ targetModules: value as TrainConfig["targetModules"] }), {
        config: { family: "llama" } as ModelConfig,
      });
    expect(targets("q_proj, v_proj")).toEqual(["q_proj", "v_proj"]);
    expect(targets("q_proj")).toEqual(["q_proj"]);
    expect(targets("/.*\\.(q|v)_proj/")).toBe(".*\\.(q|v)_proj");
    expect(targets("all-linear")).toBe("all-linear");
    expect(problemsOf(() => targets("/(q/"))).toHaveLength(1);
  });

  test("layers as numbers and ranges, ascending without repeats", () => {
    const layers = (value: unknown): unknown => trainConfig({ layers: value as never }).layers;
    expect(layers("28, 0-2,1")).toEqual([0, 1, 2, 28]);
    expect(layers(3)).toEqual([3]);
    expect(layers([5, "1-2"])).toEqual([1, 2, 5]);
    expect(layers("last:2")).toBe("last:2");
    expect(layers(" last : 12")).toBe("last:12");
    for (const wrong of ["", "x", "1-", "-1", 1.5, "0-99999"])
      expect(problemsOf(() => layers(wrong))).toHaveLength(1);
  });
});

describe("settings", () => {
  test("flag names are unique and lead back to their keys as commander camel-cases them", () => {
    const infos = describeSettings(trainConfigSchema);
    for (const { key, flag } of infos) {
      const camel = flag.slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
      expect(camel).toBe(key);
    }
    expect(new Set(infos.map((info) => info.flag)).size).toBe(infos.length);
  });

  test("every option has help, a group and a default that it accepts", () => {
    for (const info of describeSettings(trainConfigSchema)) {
      expect(info.help.description, info.key).toMatch(/^\S.{5,}/);
      expect(info.help.group, info.key).toBeTruthy();
      expect(info.fallback, info.key).toBeDefined();
      expect(trainConfig({ [info.key]: info.fallback } as object), info.key).toEqual(trainConfig());
    }
  });

  test("the nearest name forgives separators, case and a slip, and does not guess wildly", () => {
    expect(nearest("learning_rate", ["learningRate", "rank"])).toBe("learningRate");
    expect(nearest("rnak", ["learningRate", "rank"])).toBe("rank");
    expect(nearest("temperature", ["learningRate", "rank"])).toBeUndefined();
    expect(flagName("rsLora")).toBe("--rs-lora");
  });
});

describe("loadTrainConfig", () => {
  test("nothing named: the quick-start recipe, which flags override", async () => {
    const config = await loadTrainConfig({ flags: { rank: 4 } });
    expect(config).toMatchObject({ rank: 4, alpha: 16, data: ["us-addresses"] });
    expect(config.scoreAnswers).toBeGreaterThan(0);
    expect(trainConfig().scoreAnswers).toBe(0);
    expect((await loadTrainConfig({ flags: { data: "mine.jsonl" } })).alpha).toBe(32);
  });

  test("flags win over the file, the file over defaults; YAML and JSON, BOM and CRLF", async () => {
    await writeFile(
      "run.yaml",
      "\uFEFFrank: 4\r\nalpha: 8\r\nrankPattern:\r\n  q_proj: 2\r\nlayers: 0-3\r\n",
    );
    await writeFile("run.json", '{\n\t"rank": 4,\n\t"data": ["a.jsonl", "b.jsonl"]\n}');
    const fromYaml = await loadTrainConfig({ flags: { rank: 6 }, configFile: "run.yaml" });
    expect(fromYaml).toMatchObject({
      rank: 6,
      alpha: 8,
      rankPattern: { q_proj: 2 },
      layers: [0, 1, 2, 3],
      epochs: 1,
    });
    expect((await loadTrainConfig({ flags: {}, configFile: "run.json" })).data).toEqual([
      "a.jsonl",
      "b.jsonl",
    ]);
  });

  test("problems name file and line, or the flag, all at once; unknown keys get a guess", async () => {
    await writeFile("run.yaml", "rank: -1\n\nlora_alpha: 3\nlearningrate: 1\nzzz: 1\n");
    expect(await problemsOfLoading({ flags: { epochs: 0 }, configFile: "run.yaml" })).toEqual([
      "  run.yaml:3: lora_alpha: there is no such option; did you mean alpha?",
      "  run.yaml:4: learningrate: there is no such option; did you mean learningRate?",
      "  run.yaml:5: zzz: there is no such option",
      "  run.yaml:1: rank: expected a whole number ≥ 1 and ≤ 65536, got -1",
      "  --epochs: expected a number > 0 and ≤ 1000000, got 0",
    ]);
  });

  test("a broken, a missing and a listy file are errors that name the place", async () => {
    await writeFile("broken.yaml", "rank: 4\nalpha: [1\n");
    await writeFile("list.yaml", "- 1\n");
    await expect(loadTrainConfig({ flags: {}, configFile: "broken.yaml" })).rejects.toThrow(
      /^broken\.yaml:[23]: /,
    );
    await expect(loadTrainConfig({ flags: {}, configFile: "list.yaml" })).rejects.toThrow(
      "a table of options",
    );
    await expect(loadTrainConfig({ flags: {}, configFile: "no.yaml" })).rejects.toThrow(
      "no.yaml: is not there",
    );
    await expect(loadTrainConfig({ flags: {}, configFile: "norecipe" })).rejects.toThrow(
      "config file or recipe",
    );
  });

  test("resume takes the run's own options and refuses others that change the numbers", async () => {
    await mkdir("run");
    await saveTrainConfig("run", trainConfig({ rank: 4, data: ["mine.jsonl"], warmupRatio: 0.1 }));
    const config = await loadTrainConfig({ flags: { resume: "run", threads: 2, rank: 4 } });
    expect(config).toMatchObject({ rank: 4, threads: 2, output: "run", resume: "run", data: ["mine.jsonl"] });
    expect(config).toMatchObject({ warmupRatio: 0.1, warmupSteps: null });
    expect(await problemsOfLoading({ flags: { resume: "run", rank: 8, seed: 3 } })).toEqual([
      "  --rank: is 4 in that run, not 8; start a new run",
      "  --seed: is 0 in that run, not 3; start a new run",
    ]);
    await expect(loadTrainConfig({ flags: { resume: "nowhere" } })).rejects.toThrow("nowhere");
    await expect(loadTrainConfig({ flags: { resume: true } })).rejects.toThrow("no run to resume");
  });

  test("a caller of the library resumes by the folder alone", async () => {
    await mkdir("run");
    await saveTrainConfig("run", trainConfig({ rank: 4, data: ["mine.jsonl"] }));
    const config = await completeTrainConfig({ resume: "run" });
    expect(config).toMatchObject({ rank: 4, data: ["mine.jsonl"], output: "run" });
    expect(await completeTrainConfig(config)).toEqual(config);
    expect(await completeTrainConfig({ rank: 2 })).toEqual(trainConfig({ rank: 2 }));
    await expect(completeTrainConfig({ resume: "run", alpha: 3 })).rejects.toThrow(
      "alpha: is 32 in that run, not 3",
    );
  });

  test("resume without a folder takes the run written last", async () => {
    const first = await prepareRunFolder(trainConfig());
    await saveTrainConfig(first, trainConfig({ rank: 2 }));
    await new Promise((done) => setTimeout(done, 20));
    const second = await prepareRunFolder(trainConfig());
    await saveTrainConfig(second, trainConfig({ rank: 3 }));
    expect(await loadTrainConfig({ flags: { resume: true } })).toMatchObject({ output: second, rank: 3 });
  });
});

describe("options of other methods", () => {
  const message =
    "has no effect with lora: it is an option of adapter-houlsby, adapter-pfeiffer, adapter-lin";

  test("are errors where somebody states them, with their place; at their defaults they pass", async () => {
    expect(problemsOf(() => trainConfig({ adapterDrop: 1 }))).toEqual([`  adapterDrop: ${message}`]);
    expect(trainConfig({ adapterDrop: 0, method: "lora+adapter-lin" }).adapterDrop).toBe(0);
    expect(trainConfig({ adapterDrop: 1, method: "lora+adapter-lin" }).adapterDrop).toBe(1);
    expect(await problemsOfLoading({ flags: { adapterDrop: 1, data: "x.jsonl" } })).toEqual([
      `  --adapter-drop: ${message}`,
    ]);
    await writeFile("run.yaml", "method: lora\nadapterDrop: 1\n");
    expect(await problemsOfLoading({ flags: {}, configFile: "run.yaml" })).toEqual([
      `  run.yaml:2: adapterDrop: ${message}`,
    ]);
  });

  test("pass in the quick start's recipe and in what an earlier run wrote down", async () => {
    const quick = await loadTrainConfig({ flags: { method: "bitfit" } });
    expect([quick.method, quick.rank]).toEqual(["bitfit", 16]);
    expect(quick.learningRate).toBeGreaterThan(trainConfig().learningRate); // the recipe's
    expect(await completeTrainConfig(quick)).toEqual(quick); // as the command line hands it on
    const sgd = await loadTrainConfig({ flags: { optimizer: "sgd" } });
    expect(await completeTrainConfig(sgd)).toEqual(sgd);
    await mkdir("old");
    await saveTrainConfig("old", { ...trainConfig({ data: ["x.jsonl"], method: "bitfit" }), rank: 5 });
    const resumed = await loadTrainConfig({ flags: { resume: "old" } });
    expect([resumed.method, resumed.rank]).toEqual(["bitfit", 16]);
    expect((await loadTrainConfig({ flags: {}, configFile: "old/run.json" })).rank).toBe(16);
  });

  test("and those of other optimizers", () => {
    expect(problemsOf(() => trainConfig({ momentum: 0.9 }))).toEqual([
      "  momentum: has no effect with adamw: it is an option of sgd",
    ]);
    expect(problemsOf(() => trainConfig({ optimizer: "sgd", beta1: 0.5, weightDecay: 0.1 }))).toEqual([
      "  beta1: has no effect with sgd: it is an option of adamw",
    ]);
    expect(trainConfig({ optimizer: "sgd", momentum: 0.9 }).momentum).toBe(0.9);
  });

  test("every option that methods share is one setting", () => {
    for (const key of Object.keys(methodSettings)) expect(methodsWith(key).length, key).toBeGreaterThan(0);
    expect(methodsWith("rank")).toEqual(expect.arrayContaining(["lora", "vera", "adalora"]));
    expect(methodsWith("batchSize")).toEqual([]);
  });
});

describe("prepareRunFolder", () => {
  test("numbers run folders by the data's name, also for many at once", async () => {
    const config = trainConfig({ data: ["data/My Set.jsonl"] });
    const made = await Promise.all(Array.from({ length: 8 }, () => prepareRunFolder(config)));
    expect([...made].sort()).toEqual(Array.from({ length: 8 }, (_, i) => join("runs", `my-set-${i + 1}`)));
    expect(await readdir("runs")).toHaveLength(8);
  });

  test("an output folder is made, and one that holds something is refused", async () => {
    expect(await prepareRunFolder(trainConfig({ output: "out/a" }))).toBe("out/a");
    await writeFile("out/a/x", "");
    await expect(prepareRunFolder(trainConfig({ output: "out/a" }))).rejects.toThrow("--resume out/a");
    expect(await prepareRunFolder(trainConfig({ output: "out/a", resume: "out/a" }))).toBe("out/a");
  });
});
