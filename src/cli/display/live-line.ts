import { MultiBar, type SingleBar } from "cli-progress";
import type { Output } from "./output.ts";
import { truncate } from "./text.ts";

/** The last line of a terminal, redrawn in place; other lines go above it. */
export interface LiveLine {
  /** Redraws; `share` (0 to 1) is what the bar shows, `text` stands beside it. */
  update(share: number, text: string): void;
  /** Writes whole lines above the live line. */
  write(text: string): void;
  /** Leaves the last state standing. */
  stop(): void;
}

const BAR_CELLS = 24;

/** A live line on a terminal. */
export function liveLine(output: Output): LiveLine {
  let text = "";
  const bars = new MultiBar({
    stream: output.stream,
    fps: 10,
    linewrap: true, // lines are cut to the width below
    clearOnComplete: false,
    forceRedraw: true, // a line printed above clears this one
    gracefulExit: false,
    format: (_options, params) => drawLine(params.progress, text, output.columns() - 1),
  });
  const bar: SingleBar = bars.create(1, 0);
  return {
    update: (share, next) => {
      text = next;
      bar.update(Math.min(1, Math.max(0, share)));
    },
    write: (above) => {
      bars.log(output.clean(above));
      bars.update();
    },
    stop: () => {
      bars.update();
      bars.stop();
    },
  };
}

/** A bar, the percentage and a text in at most `columns` cells. */
export function drawLine(share: number, text: string, columns: number): string {
  const cells = Math.min(BAR_CELLS, Math.max(8, columns - 60));
  const full = Math.round(share * cells);
  const bar = "█".repeat(full) + "░".repeat(cells - full);
  return truncate(`${bar} ${String(Math.floor(share * 100)).padStart(3)}%  ${text}`, columns);
}
