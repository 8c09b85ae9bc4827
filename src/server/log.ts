/** What a line of the log may hold: never prompts, answers, keys or headers. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Takes what happened. */
export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Longest text of a field: names in requests have any length. */
const MAX_FIELD = 500;

/** A log of JSON lines. Line breaks in a value are escaped, so that no request can write a line of its own. */
export function jsonLog(write: (line: string) => void): Log {
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}): void => {
      const cut = Object.entries(fields).map(([key, value]) => [
        key,
        typeof value === "string" ? value.slice(0, MAX_FIELD) : value,
      ]);
      const line = { time: new Date().toISOString(), level, event, ...Object.fromEntries(cut) };
      write(`${JSON.stringify(line)}\n`);
    };
  return { info: at("info"), warn: at("warn"), error: at("error") };
}

/** A log that is not kept. */
export const noLog: Log = jsonLog(() => undefined);
