import { appendFile, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "../../src/generate/engine/engine.ts";
import { openEngine } from "../../src/generate/engine/open.ts";
import { parseKeys } from "../../src/server/access/keys.ts";
import { noLog } from "../../src/server/log.ts";
import { type StartedServer, startServer } from "../../src/server/start.ts";
import { hasChromium, launch, watchedPage } from "../chromium.ts";
import { adapterPath, createLoader, modelPath } from "../generate/loading.ts";
import { stepLines, writeRun } from "./run-folders.ts";

const isThere = hasChromium("The dashboard's page");

const KEY = "sk-0123456789abcdef";

describe.skipIf(!isThere)("the dashboard in Chromium", async () => {
  const loader = await createLoader();
  let folder: string;
  let engine: Engine;
  let server: StartedServer;
  let browser: Browser;
  let page: Page;
  /** What the console said, and who was asked. */
  let said: readonly string[];
  let hosts: ReadonlySet<string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lowrank-page-"));
    await cp(adapterPath("llama"), join(folder, "notes"), { recursive: true });
    await writeRun(join(folder, "recipes-1"), { log: stepLines(1, 3, 10) });
    const access = { cacheFolder: loader.folder, offline: true, threads: 1 };
    engine = await openEngine({ model: modelPath("llama"), contextLength: 128, ...access });
    const where = { baseName: "tiny", host: "127.0.0.1", port: 0, adapters: [folder], origins: [] };
    server = await startServer(engine, { ...where, keys: parseKeys([KEY], "k"), log: noLog });
    browser = await launch();
  });

  afterAll(async () => {
    await browser.close();
    await server.stop(0);
    await engine.close();
    await loader.remove();
    await rm(folder, { recursive: true });
  });

  beforeEach(async () => {
    ({ page, said, hosts } = await watchedPage(browser));
  });

  afterEach(() => page.close());

  const open = async (): Promise<void> => {
    await page.addInitScript(`sessionStorage.setItem("lowrank-api-key", "${KEY}")`);
    await page.goto(server.url);
    await page.getByRole("heading", { name: "Compare" }).waitFor();
  };

  /** The answer that the API gives. */
  const answerOf = async (model: string, prompt: string): Promise<string> => {
    const messages = [{ role: "user", content: prompt }];
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ model, messages, temperature: 0, max_tokens: 64 }),
    });
    const { choices } = (await response.json()) as { choices: [{ message: { content: string } }] };
    return choices[0].message.content;
  };

  test("base and adapter answer side by side; the console is empty, no other host is asked", async () => {
    await open();
    // By the keyboard alone: the prompt, then Ctrl+Enter.
    await page.getByLabel("Prompt").focus();
    await page.keyboard.type("Hello there");
    await page.keyboard.press("Control+Enter");
    for (const model of ["tiny", "notes"]) {
      const answer = page.getByRole("article", { name: `Answer of ${model}` });
      await answer.getByText(/first token after/).waitFor();
      await answer.getByRole("button").waitFor({ state: "detached" });
      expect(await answer.locator(".text").textContent()).toBe(await answerOf(model, "Hello there"));
      expect(await answer.locator(".facts").textContent()).toMatch(/^\d+ tokens · [\d.,]+ tokens\/s · /);
    }
    expect(await page.getByRole("status").last().textContent()).toMatch(/tiny: done.*notes: done/);
    expect(said).toEqual([]);
    expect([...hosts]).toEqual([server.url]);
  });

  test("options act, and stay as they were set while the page is kept up to date", async () => {
    await open();
    await page.getByLabel("Prompt").fill("Hello");
    await page.getByLabel("notes", { exact: true }).uncheck();
    await page.getByText("Options").click();
    await page.getByLabel(/^Most tokens/).fill("5");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText(/^5 tokens .* cut at the limit$/).waitFor();
    expect(await page.getByRole("article").count()).toBe(1);
    expect(await page.getByLabel(/^Most tokens/).inputValue()).toBe("5");
    expect(await page.getByLabel("Prompt").inputValue()).toBe("Hello");
  });

  test("an answer stops when its button is pressed", async () => {
    await page.route("**/v1/chat/completions", () => undefined); // never answered
    await open();
    await page.getByLabel("Prompt").fill("Hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByRole("button", { name: "Stop tiny" }).click();
    const answer = page.getByRole("article", { name: "Answer of tiny" });
    await answer.getByText("stopped").waitFor();
    expect(await page.getByRole("button", { name: "Stop notes" }).count()).toBe(1);
    await page.getByRole("button", { name: "Stop all" }).click();
    await page.getByRole("article", { name: "Answer of notes" }).getByText("stopped").waitFor();
    expect(await page.getByRole("button", { name: "Send" }).isEnabled()).toBe(true);
  });

  test("a run's curve moves when its log grows; adapters say what is known of them", async () => {
    await open();
    const run = page.getByRole("button", { name: /^recipes-1/ });
    await run.getByText("step 3 of 10").waitFor();
    await page.getByRole("img", { name: /^Loss of recipes-1\. .*\(step 3\)/ }).waitFor();
    await appendFile(join(folder, "recipes-1", "metrics.jsonl"), stepLines(4, 7, 10));
    await page.getByRole("img", { name: /\(step 7\)/ }).waitFor();
    await run.getByText("step 7 of 10").waitFor();
    const row = page.getByRole("row", { name: /^notes/ });
    expect(await row.getByRole("cell").allTextContents()).toEqual([
      ...["lora", "4", "4.1K", "20.9 KiB", "not known", "not known"],
    ]);
    expect(said).toEqual([]);
  });

  test("a server with keys asks for one, says when it is wrong, and keeps it in the tab", async () => {
    await page.goto(server.url);
    await page.getByLabel(/needs a key/).fill("sk-wrong");
    await page.getByRole("button", { name: "Open" }).click();
    await page.getByText("does not know this key").waitFor();
    await page.getByLabel(/needs a key/).fill(KEY);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Adapters" }).waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Forget key" }).click();
    await page.getByLabel(/needs a key/).waitFor();
    expect(await page.evaluate("sessionStorage.length + localStorage.length")).toBe(0);
  });

  test("nothing is wider than a phone, and dark is dark", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark" });
    await open();
    await page.getByRole("img", { name: /^Loss of/ }).waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    const color = await page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
    expect(Math.max(...(color.match(/\d+/g) ?? []).map(Number))).toBeLessThan(64);
  });
});
