import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";
import type { Browser, Page } from "playwright-core";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import { hasChromium, launch, watchedPage } from "../chromium.ts";
import { modelPath } from "../generate/loading.ts";
import { serve } from "./serve.ts";

const isThere = hasChromium("The example in the browser");
const CONFIG: string = fileURLToPath(new URL("../../examples/browser/vite.config.ts", import.meta.url));

const rows = Array.from({ length: 20 }, (_, i) =>
  JSON.stringify({ prompt: `After ${i}?`, completion: `It is ${i + 1}.` }),
).join("\n");

describe.skipIf(!isThere)("the example, built as it is served", () => {
  let folder: string;
  let site: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  let page: Page;
  let said: readonly string[];
  let hosts: ReadonlySet<string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lowrank-example-"));
    await build({ configFile: CONFIG, logLevel: "error", build: { outDir: join(folder, "site") } });
    await writeFile(join(folder, "rows.jsonl"), rows);
    const served = JSON.stringify({ address: "model/", name: "tiny" });
    const index = await readFile(join(folder, "site/index.html"));
    site = await serve({
      files: { "/": index, "/model.json": served },
      folders: { "/model/": modelPath("llama"), "/": join(folder, "site") },
    });
    browser = await launch();
    ({ page, said, hosts } = await watchedPage(browser));
    await page.goto(site.url);
  }, 300_000);
  afterAll(async () => {
    await browser.close();
    await site.close();
    await rm(folder, { recursive: true });
  });

  const idle = (): Promise<void> =>
    page
      .getByRole("status")
      .filter({ hasText: /^Ready$/ })
      .waitFor();

  test("opens, shows what is learned, trains, compares, and gives an adapter that Node loads; asks no other host", async () => {
    await page.locator('input[type="text"][value="model/"], input[type="text"]').first().waitFor();
    await page.waitForFunction("document.querySelector('input[type=text]').value === 'model/'");
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByText("LlamaForCausalLM, 2 layers").waitFor();
    await idle();

    await page.locator('input[type="file"]').last().setInputFiles(join(folder, "rows.jsonl"));
    await page.locator(".rows li").nth(7).waitFor();
    expect(await page.locator(".rows li").first().locator("mark").allTextContents()).toEqual([
      "It is 1.<|im_end|>\n",
    ]);
    expect(await page.getByLabel("Prompt").inputValue()).toBe("After 0?");

    await page.getByLabel("Steps").fill("5");
    await page.getByRole("button", { name: "Train" }).click();
    await page.getByText(/training loss .* → .*, held-out loss .* → /).waitFor();
    await page.getByRole("img", { name: /^Loss by step; .* at step 5$/ }).waitFor();
    await idle();

    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("article", { name: "After" }).waitFor();
    await idle();
    expect(await page.locator("article").count()).toBe(2);

    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download the adapter" }).click();
    const archive = join(folder, "adapter.zip");
    await (await download).saveAs(archive);
    const files = unzipSync(await readFile(archive));
    for (const [name, bytes] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), bytes);
    }
    const adapter = join(folder, "adapter");
    const access = { cacheFolder: join(folder, "cache"), offline: true, threads: 1 };
    const model = await loadModel({ model: modelPath("llama"), adapter, ...access });
    expect(model.adapter).toMatchObject({
      methods: ["lora"],
      config: { r: 8, base_model_name_or_path: "tiny" },
    });
    await model.close();

    expect([...hosts].filter((host) => host !== "null" && !host.startsWith("blob"))).toEqual([
      new URL(site.url).origin,
    ]);
    expect(said.filter((line) => !line.includes("404"))).toEqual([]);
  }, 300_000);

  test("is usable 390 pixels wide, and says its privacy in one line", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.waitForFunction("document.documentElement.scrollWidth <= innerWidth"); // the chart follows a frame later
    await page.getByText("Nothing leaves this page").waitFor();
  });
});
