import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fixturePath } from "../peft/adapters.ts";
import { runCli } from "./run-cli.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-cli-"));
});
afterAll(() => rm(folder, { recursive: true }));

const MODEL = fixturePath("models/llama");

test("an adapter to GGUF, used and merged from there, and back to PEFT", async () => {
  const run = (...args: string[]) =>
    runCli(args, { cwd: folder, env: { LOWRANK_CACHE: join(folder, "cache") } });
  const adapter = join(MODEL, "adapter");
  const to = await run(
    "convert",
    "--adapter",
    adapter,
    "--model",
    MODEL,
    "--to",
    "gguf",
    "--output",
    "a.gguf",
  );
  expect(to.exitCode).toBe(0);
  expect(to.stderr).toMatch(
    /^warning: .*adapter: is for tiny-llama; .* cannot be told\nwarning: .*Modelfile has no TEMPLATE: .*\n$/,
  );
  expect(to.stdout).toBe("converted LoRA of 14 modules, rank 4; it is in a.gguf\n");
  const generate = (name: string) =>
    run("generate", "list the files", "--adapter", name, "--model", MODEL, "--raw", "--max-tokens", "8");
  const [peft, gguf] = [await generate(adapter), await generate("a.gguf")];
  expect(gguf).toMatchObject({ exitCode: 0, stdout: peft.stdout });
  const merge = ["merge", "--adapter", "a.gguf", "--model", MODEL, "--format", "gguf", "--dtype", "q8_0"];
  const merged = await run(...merge, "--output", "m.gguf");
  expect(merged.exitCode).toBe(0);
  expect(merged.stdout).toMatch(/^merged 14 weights; the model is in m\.gguf\n/);
  const back = await run("convert", "--adapter", "a.gguf", "--model", MODEL, "--to", "peft", "--output", "p");
  expect(back.exitCode).toBe(0);
  expect(await readdir(join(folder, "p"))).toEqual([
    ...["README.md", "adapter_config.json", "adapter_model.safetensors"],
  ]);
  const shown = await run("inspect", "a.gguf");
  expect(shown.stdout).toContain("GGUF adapter, version 3");
});

test("what is missing, and an unknown format", async () => {
  expect((await runCli(["convert"])).stderr).toBe("error: missing: --adapter and --to and --output\n");
  const unknown = await runCli(["convert", "--adapter", "a", "--to", "onnx", "--output", "b"]);
  expect(unknown.exitCode).toBe(2);
  expect(unknown.stderr).toMatch(/--to: .*peft.*mlx.*gguf/);
});
