import { formatBytes, formatDuration } from "./format.ts";
import { type LiveLine, liveLine } from "./live-line.ts";
import type { Output } from "./output.ts";
import { type Pace, pace } from "./pace.ts";
import { printable } from "./text.ts";

/** Bytes done of a download or a conversion. */
export interface ByteProgress {
  readonly what: string;
  readonly doneBytes: number;
  readonly totalBytes: number | null;
}

export interface ProgressDisplay {
  show(progress: ByteProgress): void;
  /** Ends the current bar, so that other lines can follow. */
  close(): void;
}

interface Current {
  readonly what: string;
  readonly startMs: number;
  readonly line: LiveLine | null;
  readonly pace: Pace;
  isComplete: boolean;
}

/** One bar after the other on a terminal; lines at a pace where piped. */
export function progressDisplay(output: Output, now: () => number = Date.now): ProgressDisplay {
  let current: Current | null = null;
  const close = (): void => {
    current?.line?.stop();
    current = null;
  };
  return {
    show: (progress) => {
      const isFirst = current?.what !== progress.what;
      if (isFirst) close();
      current ??= begin(output, progress, now);
      if (current.isComplete) return;
      current.isComplete = isComplete(progress);
      draw(output, current, progress, isFirst, now() - current.startMs);
    },
    close,
  };
}

function begin(output: Output, progress: ByteProgress, now: () => number): Current {
  const line = output.isLive ? liveLine(output) : null;
  return { what: progress.what, startMs: now(), line, pace: pace(now), isComplete: false };
}

function isComplete({ doneBytes, totalBytes }: ByteProgress): boolean {
  return totalBytes !== null && doneBytes >= totalBytes;
}

function draw(
  output: Output,
  current: Current,
  progress: ByteProgress,
  isFirst: boolean,
  elapsedMs: number,
): void {
  const share = progress.totalBytes ? progress.doneBytes / progress.totalBytes : 0;
  const text = progressText(progress, elapsedMs);
  if (current.line) current.line.update(share, text);
  else if (current.pace.isDue(share, isFirst, isComplete(progress))) output.write(`${text}\n`);
}

/** "downloading model.gguf  45.2 MiB of 92.0 MiB  11.3 MiB/s  eta 4.1 s" */
export function progressText(progress: ByteProgress, elapsedMs: number): string {
  const { what, doneBytes, totalBytes } = progress;
  const amount =
    totalBytes === null ? formatBytes(doneBytes) : `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
  const parts = [printable(what), amount];
  if (elapsedMs > 500 && doneBytes > 0) parts.push(`${formatBytes((doneBytes / elapsedMs) * 1000)}/s`);
  if (isComplete(progress)) parts.push(`done in ${formatDuration(elapsedMs)}`);
  else if (totalBytes !== null && elapsedMs > 500 && doneBytes > 0)
    parts.push(`eta ${formatDuration((elapsedMs * (totalBytes - doneBytes)) / doneBytes)}`);
  return parts.join("  ");
}
