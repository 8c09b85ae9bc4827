import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { trainConfig } from "../../src/train/config/config.ts";
import { exactMatchChange, openMetricsLog, readMetrics } from "../../src/train/metrics-log.ts";
import { lossChart } from "../../src/train/report/chart.ts";
import { smooth } from "../../src/train/report/curve.ts";
import { writeReport } from "../../src/train/report/report.ts";
import { DONE, evaluationEvent, PLAN, samplesEvent, stepEvent } from "./events-fixture.ts";

async function runWithReport(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-report-"));
  const log = await openMetricsLog(folder);
  await log.append(evaluationEvent(0, 3.763));
  await log.append(samplesEvent("before", 0));
  for (let step = 1; step <= 164; step++) {
    await log.append(stepEvent(step));
    if (step % 41 === 0) await log.append(evaluationEvent(step, 2.1 + 40 / step, "validation"));
  }
  await log.append(evaluationEvent(164, 2.017));
  await log.append(samplesEvent("after", 164));
  await log.close();
  await writeReport(folder, {
    config: trainConfig({ rank: 8, name: "a <b> & 'c'" }),
    plan: PLAN,
    outcome: DONE,
  });
  return folder;
}

describe("writeReport", () => {
  test("writes the curve and a page, and leaves no temporary files", async () => {
    const folder = await runWithReport();
    expect((await readdir(folder)).sort()).toEqual(["loss.svg", "metrics.jsonl", "report.html"]);
    const svg = await readFile(join(folder, "loss.svg"), "utf8");
    expect(svg.startsWith("<svg")).toBe(true);
    for (const label of ["training loss", "smoothed", "validation loss", "test loss", "learning rate"])
      expect(svg).toContain(label);
  });

  test("the page asks nothing of the network and escapes what came from outside", async () => {
    const page = await readFile(join(await runWithReport(), "report.html"), "utf8");
    expect(page.match(/(?:src|href|url|action)\s*[=(](?!#)/gi) ?? []).toEqual([]);
    const addresses = page.match(/https?:\/\/[^"'\s<)]+/g) ?? [];
    expect([...new Set(addresses)].filter((address) => !address.startsWith("http://www.w3.org/"))).toEqual(
      [],
    );
    expect(page).not.toContain("<script");
    expect(page).not.toContain("<b>not");
    expect(page).toContain("&#60;script&#62;alert(&#39;x&#39;)");
    expect(page).toContain("<title>a &#60;b&#62; &#38; &#39;c&#39;</title>");
  });

  test("tells losses, samples and options", async () => {
    const page = await readFile(join(await runWithReport(), "report.html"), "utf8");
    for (const text of ["3.763 → 2.017", "tar -tf archive.tar", "learningRate", "460,800", "91,234 padded"])
      expect(page).toContain(text);
    expect(page).toContain('<span class="changed">8</span>');
  });
});

test("exact match is told where it was measured; events without answers make no table of them", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-report-"));
  const log = await openMetricsLog(folder);
  for (const [when, share] of [
    ["before", 0],
    ["after", 0.75],
  ] as const)
    await log.append({ type: "samples", step: 0, when, samples: [], exactMatch: { share, prompts: 40 } });
  await log.close();
  expect(await exactMatchChange(folder)).toEqual({ before: 0, after: 0.75, prompts: 40 });
  const outcome = { ...DONE, exactMatch: { before: 0, after: 0.75, prompts: 40 } };
  await writeReport(folder, { config: trainConfig(), plan: PLAN, outcome });
  const page = await readFile(join(folder, "report.html"), "utf8");
  expect(page).toContain("<b>0% → 75%</b><span>of 40 held-out answers exactly right, before → after</span>");
  expect(page).not.toContain("Samples</h2>");
});

describe("lossChart", () => {
  test("draws a run without any step, and one of a single step", () => {
    expect(lossChart([])).toContain("<svg");
    expect(lossChart([stepEvent(1, 1)])).toContain("training loss");
  });

  test("a long run does not make a large file", () => {
    const steps = Array.from({ length: 20_000 }, (_, i) => stepEvent(i + 1, 20_000));
    expect(lossChart(steps).length).toBeLessThan(400_000);
  });

  test("smoothing starts unbiased and keeps a constant", () => {
    expect(smooth([3, 3, 3, 3]).every((value) => Math.abs(value - 3) < 1e-12)).toBe(true);
    expect(smooth([5, 1])[0]).toBe(5);
  });
});

describe("metrics log", () => {
  test("a resumed log keeps the lines up to its step and drops a torn one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lowrank-metrics-"));
    const first = await openMetricsLog(folder);
    await first.append(evaluationEvent(0, 3.7));
    for (let step = 1; step <= 9; step++) await first.append(stepEvent(step));
    await first.close();
    const path = join(folder, "metrics.jsonl");
    const whole = await readFile(path, "utf8");
    const { writeFile } = await import("node:fs/promises");
    await writeFile(path, whole.slice(0, -20));
    const second = await openMetricsLog(folder, { resumeStep: 6 });
    await second.append(stepEvent(7));
    await second.close();
    const events = await readMetrics(folder);
    expect(events.map((event) => `${event.type} ${event.step}`)).toEqual([
      "evaluation 0",
      ...[1, 2, 3, 4, 5, 6, 7].map((step) => `step ${step}`),
    ]);
    expect((await readFile(path, "utf8")).split("\n").length).toBe(9);
  });

  test("a step that was logged twice counts once, by its later line", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lowrank-metrics-"));
    const log = await openMetricsLog(folder);
    await log.append(evaluationEvent(5, 3));
    await log.append(evaluationEvent(5, 2));
    await log.close();
    expect((await readMetrics(folder)).map((event) => event.type === "evaluation" && event.loss)).toEqual([
      2,
    ]);
  });

  test("a new run starts empty and a missing log reads as empty", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lowrank-metrics-"));
    expect(await readMetrics(folder)).toEqual([]);
    const log = await openMetricsLog(folder);
    await log.append(stepEvent(1));
    await log.close();
    await (await openMetricsLog(folder)).close();
    expect(await readMetrics(folder)).toEqual([]);
  });
});
