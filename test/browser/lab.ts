import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { expect } from "vitest";
import { loadModel } from "../../src/generate/model.ts";
import type { TrainOptions } from "../../src/train/config/config.ts";
import type { TrainEvent } from "../../src/train/events.ts";
import { train } from "../../src/train/trainer.ts";
import { modelPath } from "../generate/loading.ts";
import { bundled } from "./bundle.ts";
import type { PageRun, PageScript } from "./page-script.ts";
import { serve } from "./serve.ts";

/** Absolute, of logits of some 10: sums are in another order where there are other vectors than the processor's. */
const LOGIT_TOLERANCE = 2e-5;

const ASKED: readonly number[] = [5, 17, 60, 9, 33, 2];

const line = (i: number): string =>
  JSON.stringify({
    messages: [
      { role: "user", content: `Which number follows ${i}?` },
      { role: "assistant", content: `It is ${i + 1}.` },
    ],
  });
const lines = (from: number, count: number): string =>
  Array.from({ length: count }, (_, i) => line(from + i)).join("\n");
const ROWS = { "rows.jsonl": lines(0, 24), "test.jsonl": lines(40, 5) };

const ENGINE: string = fileURLToPath(new URL("../../node_modules/onnxruntime-web/dist/", import.meta.url));

/** A site with the library and tiny models, and Node beside it, which does the same. */
export interface Lab {
  /** Runs the page's script on a page of its own. */
  onPage<T>(browser: Browser, work: (page: Page) => Promise<T>): Promise<T>;
  /** Trains and answers in a page. */
  run(browser: Browser, device: "wasm" | "webgpu", options: TrainOptions): Promise<PageRun>;
  /** What Node's run with the same options says. */
  trainInNode(options: TrainOptions): Promise<readonly TrainEvent[]>;
  /** Logits that Node gives with an adapter, or a whole model, that came from a page. */
  logitsInNode(files: PageRun["adapter"], what: "adapter" | "model"): Promise<readonly Float32Array[]>;
  close(): Promise<void>;
}

export async function openLab(): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-browser-"));
  for (const [name, rows] of Object.entries(ROWS)) await writeFile(join(folder, name), rows);
  const { code } = await bundled("test/browser/page-script.ts");
  const page = '<!doctype html><title>lowrank</title><script type="module" src="/page.js"></script>';
  const site = await serve({
    files: { "/": page, "/page.js": code },
    folders: { "/engine/": ENGINE, "/models/": modelPath("") },
  });
  const access = { cacheFolder: join(folder, "cache"), offline: true, threads: 1 };
  let places = 0;

  const onPage = async <T>(browser: Browser, work: (page: Page) => Promise<T>): Promise<T> => {
    const page = await browser.newPage();
    try {
      await page.goto(site.url);
      return await work(page);
    } finally {
      await page.close();
    }
  };

  return {
    onPage,
    run: (browser, device, options) =>
      onPage(browser, (page) =>
        page.evaluate(
          ([own, rows, asked, name]) =>
            (globalThis as unknown as PageScript).inPage.run({
              device: name as "wasm",
              options: own as object,
              rows,
              asked,
            }),
          [options, ROWS, ASKED, device] as const,
        ),
      ),
    trainInNode: async (options) => {
      const events: TrainEvent[] = [];
      process.env.LOWRANK_CACHE = access.cacheFolder;
      const own = { ...options, data: [join(folder, "rows.jsonl")], testData: [join(folder, "test.jsonl")] };
      const where = { model: modelPath("llama"), output: join(folder, "run"), offline: true, threads: 1 };
      for await (const event of train({ ...own, ...where })) events.push(event);
      return events;
    },
    logitsInNode: async (files, what) => {
      const path = join(folder, `from-page-${++places}`);
      for (const [name, bytes] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true });
        await writeFile(join(path, name), Uint8Array.from(bytes));
      }
      const choice = what === "adapter" ? { model: modelPath("llama"), adapter: path } : { model: path };
      const model = await loadModel({ ...choice, ...access });
      try {
        return await model.logits(ASKED);
      } finally {
        await model.close();
      }
    },
    close: async () => {
      await site.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Losses of steps and evaluations, in order. */
export function losses(events: readonly TrainEvent[]): number[] {
  return events.flatMap((e) => (e.type === "step" || e.type === "evaluation" ? [e.loss] : []));
}

export function expectClose(found: readonly number[], expected: readonly number[], relative: number): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs((found[i] as number) / value - 1), `loss ${i}`).toBeLessThan(relative);
}

export function expectSameLogits(
  found: readonly (readonly number[])[],
  expected: readonly (readonly number[] | Float32Array)[],
  tolerance: number = LOGIT_TOLERANCE,
): void {
  expect(found).toHaveLength(expected.length);
  const worst = Math.max(
    ...expected.flatMap((row, t) => Array.from(row, (x, v) => Math.abs(x - (found[t]?.[v] as number)))),
  );
  expect(worst).toBeLessThan(tolerance);
}
