import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type CardMetadata, cardTable, writeCard } from "../../../src/formats/hf/card.ts";
import { licenceOf } from "../../../src/hub/known-names.ts";
import { hubModelId } from "../../../src/hub/resolve.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-card-"));
});
afterEach(() => rm(folder, { recursive: true }));

const metadata: CardMetadata = {
  baseModel: "org/base",
  baseModelRelation: "adapter",
  datasets: ["org/data", "other/data: odd"],
  license: "apache-2.0",
  library: "peft",
  task: "text-generation",
  tags: ["lora", "lora"],
};
const card = (): Promise<string> => readFile(join(folder, "README.md"), "utf8");

describe("writeCard", () => {
  test("the Hub's metadata in front, as YAML", async () => {
    expect(await writeCard(folder, metadata, "# Title\n\nText\n\n")).toBe(true);
    const [, yaml, body] = /^---\n([\s\S]+?)---\n([\s\S]+)$/.exec(await card()) ?? [];
    expect(parse(yaml as string)).toEqual({
      base_model: "org/base",
      base_model_relation: "adapter",
      datasets: ["org/data", "other/data: odd"],
      library_name: "peft",
      license: "apache-2.0",
      pipeline_tag: "text-generation",
      tags: ["base_model:adapter:org/base", "lora", "lowrank"],
    });
    expect(body).toMatch(/^<!-- Written by lowrank, .* -->\n\n# Title\n\nText\n$/);
    expect(await readdir(folder)).toEqual(["README.md"]);
  });

  test("what is not known is left out", async () => {
    await writeCard(folder, { ...metadata, baseModel: null, datasets: [], license: null }, "x");
    expect(parse((await card()).split("---\n")[1] as string)).toEqual({
      library_name: "peft",
      pipeline_tag: "text-generation",
      tags: ["lora", "lowrank"],
    });
  });

  test("its own card is written anew, any other stays", async () => {
    await writeCard(folder, metadata, "first");
    expect(await writeCard(folder, metadata, "second")).toBe(true);
    expect(await card()).toContain("second");
    const edited = (await card()).replace(/<!--.*-->\n/, "").replace("second", "mine");
    await writeFile(join(folder, "README.md"), edited);
    expect(await writeCard(folder, metadata, "third")).toBe(false);
    expect(await card()).toBe(edited);
  });
});

test("a table's cells stay in it", () => {
  expect(cardTable([["a|b", "<b>\nc"]])).toBe("| | |\n|-|-|\n| a\\|b | &lt;b> c |");
});

test("Hub ids are told from paths", async () => {
  expect(await hubModelId("smollm2-135m")).toBe("HuggingFaceTB/SmolLM2-135M-Instruct");
  expect(await hubModelId("org/name@v1")).toBe("org/name");
  expect(await hubModelId("org/name/file.gguf")).toBe(null);
  expect(await hubModelId("./org/name")).toBe(null);
  expect(await hubModelId("test/fixtures")).toBe(null); // a folder here
  expect(await hubModelId("name")).toBe(null);
  expect(licenceOf("HuggingFaceTB/SmolLM2-135M-Instruct")).toBe("apache-2.0");
  expect(licenceOf("org/name")).toBe(null);
});
