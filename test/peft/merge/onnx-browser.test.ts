import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exportModel } from "../../../src/peft/merge/merge.ts";
import { hasChromium, launch, watchedPage } from "../../chromium.ts";
import { adapterPath, createLoader, type Loader, modelPath } from "../../generate/loading.ts";

const isThere = hasChromium("An exported model in a browser");
const MODULES = fileURLToPath(new URL("../../../node_modules/", import.meta.url));

/** Serves the library, its WebAssembly and a model's folder. */
async function serveModel(folder: string): Promise<Server> {
  const roots: Readonly<Record<string, string>> = {
    lib: join(MODULES, "@huggingface/transformers/dist"),
    ort: join(MODULES, "onnxruntime-web/dist"),
    models: join(folder, ".."),
  };
  const types: readonly (readonly [RegExp, string])[] = [
    [/\.m?js$/, "text/javascript"],
    [/\.wasm$/, "application/wasm"],
    [/\.json$/, "application/json"],
  ];
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://host").pathname;
    if (path === "/") return response.setHeader("content-type", "text/html").end("<!doctype html>");
    const [, root, ...rest] = path.split("/");
    const file = join(roots[root as string] ?? "/nowhere", ...rest);
    const info = await stat(file).catch(() => null);
    if (!info?.isFile()) return response.writeHead(404).end();
    const type = types.find(([pattern]) => pattern.test(file))?.[1] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": info.size });
    return request.method === "HEAD" ? response.end() : createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Runs in the page: greedy answers of each precision, undefined for the library's own choice. */
const ANSWERS = `async ({ dtypes, prompt }) => {
  const { pipeline, env } = await import("/lib/transformers.min.js");
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/models/";
  env.useBrowserCache = false;
  env.backends.onnx.wasm.wasmPaths = "/ort/";
  env.backends.onnx.wasm.numThreads = 1;
  const answers = [];
  for (const dtype of dtypes) {
    const generator = await pipeline("text-generation", "model", dtype === "" ? {} : { dtype });
    const how = { max_new_tokens: 10, do_sample: false, return_full_text: false };
    answers.push((await generator(prompt, how))[0].generated_text);
    await generator.dispose();
  }
  return answers;
}`;

describe.skipIf(!isThere)("an exported model in Chromium, by transformers.js in WebAssembly", () => {
  let loader: Loader;
  let folder: string;
  let server: Server;
  beforeAll(async () => {
    loader = await createLoader();
    folder = await mkdtemp(join(tmpdir(), "lowrank-onnx-"));
    const [model, output] = [modelPath("llama"), join(folder, "model")];
    const access = { cacheFolder: loader.folder, offline: true };
    const choice = { model, adapter: adapterPath("llama"), anyBase: true };
    await exportModel({ ...choice, output, format: "onnx", ...access });
    server = await serveModel(output);
  });
  afterAll(async () => {
    server.close();
    await loader.remove();
    await rm(folder, { recursive: true });
  });

  test("fp32 answers as we do; q8, which is its own choice, and q4 answer", async () => {
    const browser = await launch();
    try {
      const { page, said, hosts } = await watchedPage(browser);
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await page.goto(origin);
      const ask = JSON.stringify({ dtypes: ["fp32", "q8", "q4", ""], prompt: "Hello there" });
      const [fp32, q8, q4, own] = (await page.evaluate(`(${ANSWERS})(${ask})`)) as string[];
      const ours = await loader.load("llama", { adapter: adapterPath("llama"), anyBase: true });
      const { text } = await ours.generateText({
        ...{ prompt: "Hello there", raw: true },
        maxTokens: 10,
        temperature: 0,
      });
      await loader.closeAll();
      expect(fp32).toBe(text);
      expect(q4?.length).toBeGreaterThan(0);
      expect(own).toBe(q8);
      expect([...hosts], "nobody else is asked").toEqual([origin]);
      expect(said.filter((line) => !/404|favicon/.test(line))).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
