import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { hasChromium, launch, watchedPage } from "../chromium.ts";
import { type JobServer, jobServer, rows } from "./jobs/job-server.ts";

const isThere = hasChromium("Fine-tuning in the dashboard's page");

const ROWS = 64;
/** Steps of a pass over them with the default batch size. */
const PER_PASS = 8;
/** A run of so many passes outlives what is looked at while it runs, on a fast machine too. */
const LONG_EPOCHS = 10_000;

describe.skipIf(!isThere)("fine-tuning in the dashboard, in Chromium", () => {
  let server: JobServer;
  let browser: Browser;
  let page: Page;
  let part: Locator;
  let said: readonly string[];
  let hosts: ReadonlySet<string>;

  beforeAll(async () => {
    [server, browser] = await Promise.all([jobServer(), launch()]);
  });

  afterAll(async () => {
    await browser.close();
    await server.close();
  });

  beforeEach(async () => {
    ({ page, said, hosts } = await watchedPage(browser));
    await page.goto(server.url);
    part = page.locator("section#fine-tune");
    await part.getByText("or drop one here").waitFor();
  });

  afterEach(async () => {
    expect([...hosts]).toEqual([server.url]);
    await page.close();
  });

  const drop = async (name: string, text: string): Promise<void> => {
    const dataTransfer = await page.evaluateHandle(
      ([fileName, content]) => {
        // @ts-expect-error: the browser's, which Node's types do not know
        const transfer = new DataTransfer();
        transfer.items.add(new File([content as string], fileName as string));
        return transfer;
      },
      [name, text],
    );
    await part.getByRole("group", { name: "File of examples" }).dispatchEvent("drop", { dataTransfer });
  };

  const fact = (name: string): Locator =>
    part
      .locator("dl > div")
      .filter({ has: page.getByText(name, { exact: true }) })
      .locator("dd");

  /** The last step that the curve shows. */
  const lastStep = async (): Promise<number> => {
    const label = await part.getByRole("img", { name: /\(step \d+\)/ }).getAttribute("aria-label");
    return Number(/\(step (\d+)\)/.exec(label ?? "")?.[1]);
  };

  const grownBeyond = (step: number): Promise<unknown> =>
    expect.poll(lastStep, { timeout: 20_000, interval: 200 }).toBeGreaterThan(step);

  test("a file that is dropped is shown as it would be learned, planned, trained and talked to", async () => {
    await drop("sums.jsonl", rows(ROWS));
    await part.getByText(/^sums\.jsonl \(\d.* KiB\): 64 examples\. Nothing is started yet\.$/).waitFor();
    const examples = part.getByRole("listitem").filter({ hasText: "What is" });
    expect(await examples.count()).toBe(4);
    expect(await examples.nth(1).textContent()).toContain("What is 1 and 1?");
    expect(await examples.nth(1).locator("mark").textContent()).toMatch(/^\s*That is 2\./);
    expect(await fact("Method").textContent()).toBe("lora, rank 16");
    expect(await fact("What is trained").textContent()).toMatch(/q_proj.*down_proj \(14 modules\)/);
    expect(await fact("Steps").textContent()).toBe(`${3 * PER_PASS} (${PER_PASS} per pass)`);
    expect(await fact("Estimated time").textContent()).toMatch(/^about .* as fast as this machine is now$/);
    expect(server.engine.status.running).toBe(0);
    expect((await server.openai.fineTuning.jobs.list()).data).toEqual([]);

    await part.getByRole("button", { name: "Start" }).click();
    await part.getByRole("button", { name: /^sums done/ }).waitFor();
    expect(await part.getByRole("progressbar", { name: "Steps of sums" }).textContent()).toBe(
      "step 24 of 24",
    );
    await part.getByRole("img", { name: /^Loss of sums\..*\(step 24\)/ }).waitFor();
    expect(await page.locator("section#runs").getByRole("img").count()).toBe(0);

    await part.getByRole("button", { name: "Compare with the base" }).click();
    await expect.poll(() => page.evaluate("document.activeElement.name")).toBe("prompt");
    await page.keyboard.type("What is 3 and 3?");
    await page.keyboard.press("Control+Enter");
    const answers = page.getByRole("article");
    await expect.poll(() => answers.count()).toBe(2);
    const own = page.getByRole("article", { name: /^Answer of ft:tiny:sums:/ });
    await own.getByText(/first token after/).waitFor();
    await own.getByRole("button").waitFor({ state: "detached" });
    const { data } = await server.openai.fineTuning.jobs.list();
    const answer = await server.openai.chat.completions.create({
      model: data[0]?.fine_tuned_model ?? "",
      messages: [{ role: "user", content: "What is 3 and 3?" }],
      ...{ temperature: 0, max_tokens: 64 },
    });
    expect(await own.locator(".text").textContent()).toBe(answer.choices[0]?.message.content);
    // What is gone is not offered.
    await server.engine.unloadAdapter(data[0]?.fine_tuned_model ?? "");
    await part.getByText(/^ft:tiny:sums:[0-9a-f]+, not loaded$/).waitFor();
    expect(await part.getByRole("button", { name: "Compare with the base" }).count()).toBe(0);
    expect(said).toEqual([]);
  });

  test("options are planned anew; a curve grows while its job runs, which is paused, resumed and cancelled", async () => {
    await drop("long.jsonl", rows(ROWS));
    await part.getByText(/64 examples\. Nothing is started yet/).waitFor();
    // Another method has other options.
    await part.getByLabel("Method").selectOption("bitfit");
    await part.getByLabel("Rank").waitFor({ state: "detached" });
    await part.getByLabel("Method").selectOption("lora");
    await part.getByLabel("Epochs").fill(String(LONG_EPOCHS));
    await part.getByLabel("Epochs").press("Tab");
    await fact("Steps").getByText("80,000 (8 per pass)").waitFor();
    await part.getByRole("button", { name: "Start" }).click();
    await part.getByRole("button", { name: /^long running/ }).waitFor();
    await part.getByRole("img", { name: /\(step \d+\)/ }).waitFor();
    await grownBeyond(await lastStep());
    await part.getByRole("button", { name: "Pause long" }).click();
    await part.getByRole("button", { name: /^long paused/ }).waitFor();
    const atPause = await lastStep();
    await part.getByRole("button", { name: "Resume long" }).click();
    await grownBeyond(atPause);
    page.once("dialog", (dialog) => void dialog.accept());
    await part.getByRole("button", { name: "Cancel long" }).click();
    await part.getByRole("button", { name: /^long cancelled/ }).waitFor();
    expect(said).toEqual([]);
  });

  test("a validation file is measured on, and a seed is the job's", async () => {
    await drop("train.jsonl", rows(ROWS));
    await part.getByText(/64 examples\. Nothing is started yet/).waitFor();
    const choose = async (name: string, text: string): Promise<void> =>
      part
        .locator("input[name=validation]")
        .setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
    await choose("broken.jsonl", "{");
    await part
      .getByRole("listitem")
      .filter({ hasText: /^validation file, line 1: not valid JSON/ })
      .waitFor();
    await choose("held.jsonl", rows(5));
    await fact("Examples").getByText("64, 5 to measure on").waitFor();
    expect(await part.getByLabel("Validation fraction").count()).toBe(0);
    await part.getByRole("button", { name: "Remove" }).click();
    await part.getByLabel("Validation fraction").waitFor({ state: "attached" }); // among the options of the data
    await fact("Examples").getByText("64", { exact: true }).waitFor();
    await choose("held.jsonl", rows(5));
    await fact("Examples").getByText("64, 5 to measure on").waitFor();
    await part.getByLabel("Seed").fill("11");
    await part.getByLabel("Seed").press("Tab");
    await part.getByText(/64 examples\. Nothing is started yet/).waitFor();
    await part.getByRole("button", { name: "Start" }).click();
    await part.getByRole("button", { name: /^train done/ }).waitFor();
    const [job] = (await server.openai.fineTuning.jobs.list()).data;
    const files = (await server.openai.files.list({ purpose: "fine-tune" })).data;
    const held = files.filter(({ filename }) => filename === "held.jsonl");
    expect(job).toMatchObject({ seed: 11, validation_file: held[0]?.id });
    expect(held).toHaveLength(1); // the removed one is gone
    expect(held[0]?.expires_at).toBeGreaterThan(Date.now() / 1000);
    expect(files.map(({ filename }) => filename)).not.toContain("broken.jsonl");
    expect(said).toEqual([]);
  });

  test("a broken file says its lines, and is started when it is corrected; nothing of it stays when it is discarded", async () => {
    const broken = `${rows(12)}{"messages": [\n{"messages": [{"role": "user", "content": "a"}]}\n`;
    await drop("notes.jsonl", broken);
    const problems = part.getByRole("listitem");
    await problems.filter({ hasText: /^line 13: not valid JSON/ }).waitFor();
    await problems.filter({ hasText: /^line 14: .*has no assistant turn/ }).waitFor();
    expect(await part.getByRole("button", { name: "Start" }).isDisabled()).toBe(true);
    // By the button, and without a mouse.
    const chooser = page.waitForEvent("filechooser");
    await part.getByLabel("Choose another file").focus();
    await page.keyboard.press("Enter");
    const corrected = { name: "notes.jsonl", mimeType: "text/plain", buffer: Buffer.from(rows(12)) };
    await (await chooser).setFiles(corrected);
    await part.getByText("12 examples").waitFor();
    expect(await part.getByRole("button", { name: "Start" }).isEnabled()).toBe(true);
    await part.getByLabel("Rank").fill("0");
    await part.getByLabel("Rank").press("Tab");
    await part
      .getByRole("alert")
      .filter({ hasText: /lowrank\.rank: expected/ })
      .waitFor();
    expect(await part.getByRole("button", { name: "Start" }).isDisabled()).toBe(true);
    const before = (await server.openai.files.list()).data.map(({ filename }) => filename);
    expect(before).toContain("notes.jsonl");
    await part.getByRole("button", { name: "Discard" }).click();
    await expect
      .poll(async () => (await server.openai.files.list()).data.map(({ filename }) => filename))
      .not.toContain("notes.jsonl");
  });

  test("a job that fails says why", async () => {
    const runs = join(server.folder, "runs");
    await rename(runs, `${runs}-moved`);
    await writeFile(runs, "in the way");
    const { id: training_file } = await server.upload(rows(12));
    await server.openai.fineTuning.jobs.create({ model: "tiny", training_file, suffix: "stuck" });
    await part.getByRole("button", { name: /^stuck failed/ }).click();
    await part.getByText(/cannot|could not|not a directory/i).waitFor();
    await rm(runs);
    await rename(`${runs}-moved`, runs);
  });

  test("nothing is wider than a phone", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await drop("wide.jsonl", rows(12));
    await part.getByText("12 examples").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    await part.getByRole("button", { name: "Discard" }).click();
  });
});
