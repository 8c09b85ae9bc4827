import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatLearningRate,
  formatRate,
  formatShare,
} from "../../src/cli/display/format.ts";
import { drawLine } from "../../src/cli/display/live-line.ts";
import { type Output, outputTo, style } from "../../src/cli/display/output.ts";
import { pace } from "../../src/cli/display/pace.ts";
import { progressDisplay, progressText } from "../../src/cli/display/progress.ts";
import {
  cellWidth,
  labelled,
  printable,
  sideBySide,
  table,
  truncate,
  wrap,
} from "../../src/cli/display/text.ts";
import { trainDisplay } from "../../src/cli/display/train-display.ts";
import {
  planLines,
  previewLines,
  sampleLines,
  shellQuote,
  stepLine,
} from "../../src/cli/display/train-text.ts";
import { DONE, evaluationEvent, PLAN, samplesEvent, stepEvent } from "../train/events-fixture.ts";

interface Captured extends Output {
  text(): string;
}

function capture(options: { isLive?: boolean; isColored?: boolean; columns?: number } = {}): Captured {
  const stream = Object.assign(new PassThrough(), {
    isTTY: options.isLive ?? false,
    columns: options.columns ?? 100,
  });
  const parts: string[] = [];
  stream.on("data", (data) => parts.push(String(data)));
  return {
    write: (text) => void stream.write(text),
    clean: (text) => text,
    stream,
    isLive: options.isLive ?? false,
    columns: () => options.columns ?? 100,
    style: style(options.isColored ?? false),
    text: () => parts.join(""),
  };
}

describe("numbers", () => {
  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [96_468_992, "92.0 MiB"],
    [5 * 1024 ** 4, "5.00 TiB"],
    [1024 ** 5 * 3, "3072.0 TiB"],
  ])("%d bytes", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  test.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [999.7, "1.0 s"],
    [59_940, "59.9 s"],
    [59_960, "1m 0s"],
    [252_000, "4m 12s"],
    [3_600_000, "1h 0m"],
    [90_000_000, "1d 1h"],
  ])("%d ms", (ms, text) => expect(formatDuration(ms)).toBe(text));

  test.each([
    [999, "999"],
    [9999, "9999"],
    [134_515_008, "134.5M"],
    [460_800, "460.8K"],
    [999_999, "1.00M"],
    [7_615_616_512, "7.62G"],
  ])("%d parameters", (count, text) => expect(formatCount(count)).toBe(text));

  test("rates, shares, learning rates", () => {
    expect([formatRate(812.4), formatRate(6.13), formatRate(42.25), formatRate(99.96)]).toEqual([
      "812",
      "6.13",
      "42.3",
      "100",
    ]);
    expect([formatShare(0.00341), formatShare(0.4125)]).toEqual(["0.34%", "41.3%"]);
    expect([formatLearningRate(7.1234e-4), formatLearningRate(1e-3), formatLearningRate(0)]).toEqual([
      "7.12e-4",
      "1e-3",
      "0",
    ]);
  });
});

describe("text", () => {
  test("cells of wide, combining and plain characters", () => {
    expect(cellWidth("abc")).toBe(3);
    expect(cellWidth("日本")).toBe(4);
    expect(cellWidth("e\u0301🙂")).toBe(3);
  });

  test("control characters cannot steer the terminal", () => {
    const hostile = "a\u001b[2Jb\rc\u0007\u009b\u202Ed\te\n";
    expect(printable(hostile)).toBe("a␛[2Jb\nc␇\uFFFD\uFFFDd  e\n");
  });

  test("wrapping keeps words, breaks long ones and never exceeds the width", () => {
    expect(wrap("list the files of an archive", 12)).toEqual(["list the", "files of an", "archive"]);
    expect(wrap("aaaaaaaaaa b", 4)).toEqual(["aaaa", "aaaa", "aa b"]);
    expect(wrap("x\n\ny", 10)).toEqual(["x", "", "y"]);
    for (const line of wrap("日本語の長い文章 with words そして", 7))
      expect(cellWidth(line)).toBeLessThanOrEqual(7);
  });

  test("truncation, columns and tables", () => {
    expect(truncate("abcdef", 4)).toBe("abc…");
    expect(sideBySide("a b", "c", 11)).toEqual(["a b  │ c"]);
    expect(labelled([["Model", "x y z"]], 10)).toEqual(["Model  x y", "       z"]);
    expect(
      table(
        [
          ["a", "1"],
          ["bbb", "22"],
        ],
        [1],
      ),
    ).toEqual(["a     1", "bbb  22"]);
  });

  test("shell words are quoted only where needed", () => {
    expect(shellQuote("runs/a-1")).toBe("runs/a-1");
    expect(shellQuote("it's")).toBe("'it'\\''s'");
  });
});

describe("pace", () => {
  test("first, last, and between after both ten seconds and a tenth", () => {
    let now = 0;
    const due = pace(() => now);
    const lines: number[] = [];
    for (let step = 1; step <= 100; step++) {
      if (due.isDue(step / 100, step === 1, step === 100)) lines.push(step);
      now += step < 50 ? 100 : 5000; // the first half is fast: time decides; then the share does
    }
    expect(lines).toEqual([1, 52, 62, 72, 82, 92, 100]);
  });
});

describe("training, piped", () => {
  test("prints plan, first and last step, evaluations, samples and summary, without escape sequences", () => {
    const output = capture();
    const display = trainDisplay(output, () => 0);
    display.show(PLAN);
    display.show({
      type: "preview",
      examples: [
        [
          { text: "user: a\n", isLabel: false },
          { text: "b", isLabel: true },
        ],
      ],
    });
    display.show(evaluationEvent(0, 3.763));
    display.show(samplesEvent("before", 0));
    for (let step = 1; step <= 164; step++) display.show(stepEvent(step));
    display.show(evaluationEvent(164, 2.017));
    display.show(samplesEvent("after", 164));
    display.show(DONE);
    display.close();
    const text = output.text();
    expect(text).not.toMatch(/\p{Cc}(?<!\n)/u);
    expect(text.match(/^step .*/gm)).toEqual([stepLine(stepEvent(1)), stepLine(stepEvent(164))]);
    for (const part of [
      "lora: 460,800 of 135.0M parameters (0.34%)",
      "91,234 padded → 31,870 packed (2.86 times fewer)",
      "«b»",
      "test loss 3.7630 before training",
      "Test loss  3.7630 → 2.0170 nats per token (perplexity 43.08 → 7.52)",
      "lowrank generate --adapter runs/shell-recipes-1/adapter 'tar: list the files in an archive'",
    ])
      expect(text).toContain(part);
  });

  test("exact match stands under the loss, before and after", () => {
    const output = capture();
    const display = trainDisplay(output, () => 0);
    display.show(PLAN);
    display.show({ ...samplesEvent("before", 0), exactMatch: { share: 0, prompts: 40 } });
    display.show({ ...samplesEvent("after", 164), exactMatch: { share: 0.825, prompts: 40 } });
    display.show({ ...DONE, exactMatch: { before: 0, after: 0.825, prompts: 40 } });
    display.close();
    const lines = output.text().split("\n");
    expect(lines).toContain("exact match 0% of 40 answers before training");
    expect(lines).toContain("exact match 82.5% of 40 answers after step 164");
    const loss = lines.findIndex((line) => line.startsWith("Test loss") || line.startsWith("Held-out loss"));
    expect(lines[loss + 1]).toMatch(/^Exact match +0% → 82\.5% of 40 held-out answers$/);
  });

  test("an interrupted run says how to go on", () => {
    const output = capture();
    const display = trainDisplay(output);
    display.show({
      type: "stopped",
      reason: "interrupt",
      step: 7,
      resumeHint: "lowrank train --resume runs/a-1",
    });
    expect(output.text()).toBe("stopped after step 7\ngo on with: lowrank train --resume runs/a-1\n");
  });
});

describe("training on a terminal", () => {
  test("redraws one line, prints others above it, and leaves the last state", () => {
    const output = capture({ isLive: true, isColored: true });
    const display = trainDisplay(output);
    display.show(stepEvent(1));
    display.show({ type: "warning", message: "careful" });
    display.show(stepEvent(164));
    display.show(evaluationEvent(164, 2.017));
    display.show(DONE);
    display.close();
    const screen = finalScreen(output.text());
    const bar = screen.findIndex((line) => line.includes("164/164"));
    expect(screen.filter((line) => line.includes("loss 2.1151"))).toHaveLength(1);
    expect(screen.slice(bar - 2, bar)).toEqual([
      "warning: careful",
      expect.stringContaining("test loss 2.0170"),
    ]);
    expect(screen[bar]).toContain("100%");
    expect(screen.some((line) => line.startsWith("Adapter"))).toBe(true);
  });

  test("the live line fits the terminal", () => {
    for (const columns of [40, 60, 100, 200])
      expect(cellWidth(drawLine(0.41, "x".repeat(300), columns))).toBe(columns);
    expect(drawLine(0.5, "ok", 100)).toBe(`${"█".repeat(12)}${"░".repeat(12)}  50%  ok`);
  });
});

const ESCAPE = "\u001b";

/** What a terminal shows after the text: only cursor-to-column, clear-line and clear-below sequences are known. */
function finalScreen(text: string): string[] {
  const lines = [""];
  let column = 0;
  const tokens = new RegExp(`${ESCAPE}\\[[\\d;?]*[A-Za-z]|\\n|[^${ESCAPE}\\n]+`, "g");
  for (const [token] of text.matchAll(tokens)) {
    const last = lines.length - 1;
    if (token === "\n") {
      lines.push("");
      column = 0;
    } else if (/\[\d+G$/.test(token)) column = Number(/\d+/.exec(token)?.[0]) - 1;
    else if (/\[0?[JK]$/.test(token)) lines[last] = (lines[last] as string).slice(0, column);
    else if (token.endsWith("[2K")) lines[last] = "";
    else if (!token.startsWith("\u001b")) {
      lines[last] =
        (lines[last] as string).slice(0, column) +
        token +
        (lines[last] as string).slice(column + token.length);
      column += token.length;
    } else if (!/m$/.test(token)) throw new Error(`unexpected sequence ${JSON.stringify(token)}`);
  }
  return lines.map((line) => stripVTControlCharacters(line).trimEnd());
}

describe("pieces", () => {
  test("the plan names what was cut and leaves out what is not there", () => {
    const text = planLines({ ...PLAN, estimatedSeconds: null, testExamples: 0, dropped: 3 }, 100).join("\n");
    expect(text).toContain("1,307 examples, 2 truncated, 3 dropped");
    expect(text).not.toContain("Time");
  });

  test("the plan of much data says what its tokens were estimated from", () => {
    const tokensPerEpoch = { ...PLAN.tokensPerEpoch, countedBatches: 12_500 };
    const text = planLines({ ...PLAN, tokensPerEpoch }, 100).join("\n");
    expect(text.replace(/\s+/g, " ")).toContain("(2.86 times fewer; estimated from 12,500 batches)");
  });

  test("the preview dims what has no loss, or marks what has one", () => {
    const preview = {
      type: "preview",
      examples: [
        [
          { text: "in\n", isLabel: false },
          { text: "out", isLabel: true },
        ],
      ],
    } as const;
    expect(previewLines(preview, style(false))).toContain("  «out»");
    const colored = previewLines(preview, style(true));
    expect(colored).toContain("  \u001b[2min\u001b[22m");
  });

  test("samples stand side by side where there is room", () => {
    const [before, after] = [samplesEvent("before", 0).samples, samplesEvent("after", 9).samples];
    const wide = sampleLines(before, after, 80, style(false));
    expect(wide.some((line) => /^Before +│ After$/.test(line))).toBe(true);
    expect(wide.every((line) => cellWidth(line) <= 80)).toBe(true);
    const narrow = sampleLines(before, after, 50, style(false)).join("\n");
    expect(narrow).toMatch(/^After +tar -tf archive\.tar$/m);
    expect(narrow).not.toContain("\u001b");
  });

  test("byte progress: speed, remaining time, unknown totals", () => {
    const mib = 1024 * 1024;
    expect(progressText({ what: "downloading m", doneBytes: 2 * mib, totalBytes: 8 * mib }, 1000)).toBe(
      "downloading m  2.00 MiB of 8.00 MiB  2.00 MiB/s  eta 3.0 s",
    );
    expect(progressText({ what: "m", doneBytes: mib, totalBytes: null }, 100)).toBe("m  1.00 MiB");
    expect(progressText({ what: "m", doneBytes: 8, totalBytes: 8 }, 100)).toBe(
      "m  8 B of 8 B  done in 100 ms",
    );
  });

  test("piped byte progress: first and last line of each, whatever the number of reports", () => {
    const output = capture();
    const display = progressDisplay(output, () => 0);
    for (const what of ["a", "b"])
      for (let done = 0; done <= 100; done++) display.show({ what, doneBytes: done, totalBytes: 100 });
    display.show({ what: "b", doneBytes: 100, totalBytes: 100 });
    display.close();
    expect(output.text().match(/^\w .*$/gm)).toEqual([
      "a  0 B of 100 B",
      "a  100 B of 100 B  done in 0 ms",
      "b  0 B of 100 B",
      "b  100 B of 100 B  done in 0 ms",
    ]);
  });

  test("colours follow NO_COLOR, FORCE_COLOR and the terminal", () => {
    const stream = (isTTY: boolean): NodeJS.WriteStream =>
      Object.assign(new PassThrough(), { isTTY }) as never;
    expect(outputTo(stream(true), {}).style.isColored).toBe(true);
    expect(outputTo(stream(true), { NO_COLOR: "1" }).style.isColored).toBe(false);
    expect(outputTo(stream(true), { TERM: "dumb" })).toMatchObject({
      isLive: false,
      style: { isColored: false },
    });
    expect(outputTo(stream(false), {}).style.isColored).toBe(false);
    expect(outputTo(stream(false), { FORCE_COLOR: "1" }).style.isColored).toBe(true);
    expect(outputTo(stream(false), { CI: "1" }).style.isColored).toBe(false);
  });

  test("is not steered by what a place that prints forgot to clean; piped text stays as it is", () => {
    const hostile = "a\u001b]0;title\u0007\u001b[2J\u001b[31mb\n";
    const written = (isTTY: boolean, env: NodeJS.ProcessEnv, make: (output: Output) => string): string => {
      let text = "";
      const sink = { isTTY, write: (part: string) => (text += part) } as unknown as NodeJS.WriteStream;
      const output = outputTo(sink, env);
      output.write(make(output));
      return text;
    };
    expect(written(true, {}, ({ style: s }) => `${s.green("ok")} ${hostile}`)).toBe(
      "\u001b[32mok\u001b[39m a\u241b]0;title\u2407\u241b[2J\u001b[31mb\n",
    );
    expect(outputTo({ isTTY: true } as NodeJS.WriteStream, {}).clean("\u001b[2Jx")).toBe("\u241b[2Jx");
    for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }])
      expect(written(true, env, () => hostile)).toBe("a\u241b]0;title\u2407\u241b[2J\u241b[31mb\n");
    expect(written(false, {}, () => hostile)).toBe(hostile);
  });
});
