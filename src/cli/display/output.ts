import pc from "picocolors";
import { printable } from "./text.ts";

/** Colours that are switched off where they would be noise. */
export interface Style {
  readonly isColored: boolean;
  dim(text: string): string;
  bold(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  red(text: string): string;
  cyan(text: string): string;
}

/** Colours, or none: then every function returns its text. */
export function style(isColored: boolean): Style {
  const { dim, bold, green, yellow, red, cyan } = pc.createColors(isColored);
  return { isColored, dim, bold, green, yellow, red, cyan };
}

/** Where a command writes. */
export interface Output {
  write(text: string): void;
  /** A text as `write` would write it. */
  clean(text: string): string;
  readonly stream: NodeJS.WritableStream;
  /** A terminal whose last line can be redrawn. */
  readonly isLive: boolean;
  /** Cells in a line. */
  columns(): number;
  readonly style: Style;
}

const ESCAPE = "\u001b";
const COLOR = new RegExp(`(${ESCAPE}\\[\\d{1,2}m)`);

/** A text in which nothing but colours is left for the terminal to obey. */
function withColorsAlone(text: string, isColored: boolean): string {
  if (!isColored) return printable(text);
  return text
    .split(COLOR)
    .map((part) => (COLOR.test(part) ? part : printable(part)))
    .join("");
}

const PIPED_COLUMNS = 100;

/** An output over a stream: live and coloured on a terminal; NO_COLOR and FORCE_COLOR are respected. */
export function outputTo(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env): Output {
  const isTerminal = stream.isTTY === true && env.TERM !== "dumb";
  const isColored = !env.NO_COLOR && (isTerminal || (!!env.FORCE_COLOR && env.FORCE_COLOR !== "0"));
  // The last door: whatever a place that prints has forgotten to clean, no terminal is steered by it.
  const clean = (text: string): string => (stream.isTTY ? withColorsAlone(text, isColored) : text);
  return {
    write: (text) => void stream.write(clean(text)),
    clean,
    stream,
    isLive: isTerminal,
    columns: () => (isTerminal ? Math.max(40, stream.columns ?? 80) : PIPED_COLUMNS),
    style: style(isColored),
  };
}
