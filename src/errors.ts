/** What a message may quote of its input: names and values in a foreign file can have any length. */
const MESSAGE_LIMIT = 10_000;
const QUOTE_LIMIT = 1000;

/** A text, in the middle of which what is beyond the limit is left out. */
function shortened(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  return `${text.slice(0, half)} … (${text.length - 2 * half} characters left out) … ${text.slice(-half)}`;
}

/** Base of every error that lowrank raises on purpose: bad input, a missing file, an unsupported request.
 *  Anything else that reaches the user is a defect. */
export class LowrankError extends Error {
  /** Stable machine-readable kind, e.g. `"shape"`. */
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(shortened(message, MESSAGE_LIMIT), options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A tensor or graph value has the wrong shape or dtype. */
export class ShapeError extends LowrankError {
  constructor(message: string) {
    super("shape", message);
  }
}

/** A file or byte stream does not follow its format. */
export class FormatError extends LowrankError {
  /** File (and, where known, line or tensor) at fault. */
  readonly where: string;
  constructor(where: string, message: string, options?: ErrorOptions) {
    super("format", `${shortened(where, QUOTE_LIMIT)}: ${shortened(message, QUOTE_LIMIT)}`, options);
    this.where = where;
  }
}

/** One thing wrong in the user's input, with its place. */
export interface Problem {
  /** File and line, option name, or tensor name. */
  readonly where: string;
  readonly message: string;
}

/** Several things wrong in the user's input, reported together: the first ten, and the count. */
export class InputError extends LowrankError {
  readonly problems: readonly Problem[];
  /** How many problems there are in all (`problems` may hold only the first). */
  readonly count: number;
  constructor(title: string, problems: readonly Problem[], count: number = problems.length) {
    const line = (p: Problem): string =>
      `  ${shortened(p.where, QUOTE_LIMIT)}: ${shortened(p.message, QUOTE_LIMIT)}`;
    const shown = problems.slice(0, 10).map(line);
    const more = count > shown.length ? [`  … and ${count - shown.length} more`] : [];
    super("input", [title, ...shown, ...more].join("\n"));
    this.problems = problems;
    this.count = count;
  }
}

/** A text that has no room in the model's context. */
export class ContextError extends InputError {
  /** Tokens that there is room for. */
  readonly contextLength: number;
  constructor(title: string, problems: readonly Problem[], contextLength: number) {
    super(title, problems);
    this.contextLength = contextLength;
  }
}

/** Something named by the user (model, file, adapter) is not there. */
export class NotFoundError extends LowrankError {
  constructor(message: string, options?: ErrorOptions) {
    super("not_found", message, options);
  }
}

/** The request is understood, but this build, device or file cannot serve it. */
export class UnsupportedError extends LowrankError {
  constructor(message: string) {
    super("unsupported", message);
  }
}

/** The network is needed and failed, or is switched off. */
export class NetworkError extends LowrankError {
  constructor(message: string, options?: ErrorOptions) {
    super("network", message, options);
  }
}

/** The execution engine failed to load or run a graph. */
export class RuntimeError extends LowrankError {
  constructor(message: string, options?: ErrorOptions) {
    super("runtime", message, options);
  }
}

/** Training cannot go on: non-finite loss, adapter that does not move, run folder in use. */
export class TrainingError extends LowrankError {
  constructor(message: string, options?: ErrorOptions) {
    super("training", message, options);
  }
}

/** Too much is under way: try again later. */
export class BusyError extends LowrankError {
  constructor(message: string) {
    super("busy", message);
  }
}
