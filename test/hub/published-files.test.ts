import { execFileSync } from "node:child_process";
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { writeModelGguf } from "../../src/formats/gguf/save.ts";
import { writeModelFolder } from "../../src/formats/hf/save.ts";
import { openModel } from "../../src/formats/open-model.ts";
import { writeSafetensors } from "../../src/formats/safetensors/write.ts";
import { checkPublished } from "../../src/hub/published-check.ts";
import { publishedFiles } from "../../src/hub/published-files.ts";
import { copyOf, failure, temporaryFolder } from "../formats/fixtures.ts";
import { fixturePath } from "../peft/adapters.ts";

let folder: string;
let adapter: string;
let secret: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  adapter = join(folder, "adapter");
  secret = join(folder, "secret.txt");
  await cp(fixturePath("models/llama/adapter"), adapter, { recursive: true });
  await writeFile(secret, '{"key": "SECRET"}');
});

const refusal = async (path = adapter): Promise<string> => {
  const error = await failure(publishedFiles(path).then((files) => checkPublished(files)));
  expect(error).toBeInstanceOf(LowrankError);
  return error.message;
};

describe("links", () => {
  it.each(["README.md", "LICENSE", "labels.json", "tokenizer.json", "adapter_model.safetensors"])(
    "%s that leads out of the folder is refused by name",
    async (name) => {
      await rm(join(adapter, name), { force: true });
      await symlink(secret, join(adapter, name));
      expect(await refusal()).toMatch(
        new RegExp(`${name} is a link that leads out of its folder, to .*secret.txt`),
      );
    },
  );

  it("are followed inside the folder, and in a snapshot of the Hub's cache to its own blobs alone", async () => {
    await rename(join(adapter, "adapter_model.safetensors"), join(adapter, "w.bin"));
    await symlink("w.bin", join(adapter, "adapter_model.safetensors"));
    expect((await publishedFiles(adapter)).map((f) => f.path)).toContain("adapter_model.safetensors");

    const [snapshot, blobs] = [
      join(folder, "models--o--a", "snapshots", "c"),
      join(folder, "models--o--a", "blobs"),
    ];
    await mkdir(snapshot, { recursive: true });
    await mkdir(blobs);
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      await cp(join(adapter, name), join(blobs, name), { dereference: true });
      await symlink(join("..", "..", "blobs", name), join(snapshot, name));
    }
    expect(await publishedFiles(snapshot)).toHaveLength(2);
    await symlink(secret, join(snapshot, "README.md"));
    expect(await refusal(snapshot)).toMatch(/README\.md is a link/);
    await rm(join(snapshot, "README.md"));
    await symlink(secret, join(blobs, "README.md"));
    await symlink(join("..", "..", "blobs", "README.md"), join(snapshot, "README.md"));
    expect(await refusal(snapshot)).toMatch(/README\.md is a link/);
  });

  it("of a run to an adapter elsewhere, of a combination to a part elsewhere", async () => {
    const run = join(folder, "run");
    await mkdir(run);
    await symlink(adapter, join(run, "adapter"));
    expect(await refusal(run)).toMatch(/run\/adapter is a link/);
    const whole = join(folder, "whole");
    await mkdir(whole);
    await writeFile(join(whole, "adapter_config.json"), '{"lowrank_methods": ["lora"]}');
    await symlink(adapter, join(whole, "lora"));
    expect(await refusal(whole)).toMatch(/lora\/adapter_config\.json is a link/);
  });

  it("in a model's folder are not copied into what is written of it", async () => {
    for (const name of ["special_tokens_map.json", "generation_config.json", "chat_template.jinja"]) {
      const path = await copyOf("llama");
      await rm(join(path, name), { force: true });
      await symlink(secret, join(path, name));
      const source = await openModel(path);
      const said = new RegExp(`${name} is a link that leads out of its folder`);
      const [out, gguf] = [join(folder, `out-${name}`), join(folder, `${name}.gguf`)];
      expect((await failure(writeModelFolder(out, source))).message).toMatch(said);
      expect((await failure(writeModelGguf(gguf, source))).message).toMatch(said);
      await source.close();
    }
  });

  it.runIf(process.platform !== "win32")("FIFOs and strange names are refused too", async () => {
    execFileSync("mkfifo", [join(adapter, "README.md")]);
    expect(await refusal()).toMatch(/README\.md: is not a regular file \(a FIFO\)$/);
    await rm(join(adapter, "README.md"));
    await writeFile(join(adapter, "..\\..\\x.jinja"), "x");
    expect(await refusal()).toMatch(/is a name that cannot be published$/);
  });
});

describe("damage", () => {
  const weights = (): string => join(adapter, "adapter_model.safetensors");

  it("whole files pass", async () => {
    await checkPublished(await publishedFiles(adapter));
    const model = await copyOf("llama");
    await checkPublished(await publishedFiles(model));
  });

  it.each([0, 5, 60, 5000])("weights cut off at %d bytes", async (length) => {
    await writeFile(weights(), (await readFile(weights())).subarray(0, length));
    expect(await refusal()).toMatch(/^the folder cannot be uploaded:\n {2}adapter_model\.safetensors: /);
  });

  it("weights that are not finite, with the tensor's name; all faults at once", async () => {
    const data = new Float32Array(6);
    data[4] = Number.NaN;
    await writeSafetensors(weights(), [{ name: "a.lora_A.weight", shape: [2, 3], data }]);
    await writeFile(join(adapter, "labels.json"), "{");
    expect(await refusal()).toBe(
      [
        "the folder cannot be uploaded:",
        '  adapter_model.safetensors: tensor "a.lora_A.weight" has NaN at [1,1], expected finite weights',
        "  labels.json: is not JSON (Expected property name or '}' in JSON at position 1)",
      ].join("\n"),
    );
  });

  it("no tensors, a Git LFS pointer, an index of shards that are not there", async () => {
    await writeSafetensors(weights(), []);
    expect(await refusal()).toMatch(/adapter_model\.safetensors: holds no tensors$/);
    await writeFile(weights(), "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n");
    expect(await refusal()).toMatch(/adapter_model\.safetensors: is a Git LFS pointer/);
    const model = await copyOf("llama");
    await rm(join(model, "model-00002-of-00003.safetensors"));
    expect(await refusal(model)).toMatch(/index\.json: names model-00002-of-00003\.safetensors, not there$/);
  });
});
