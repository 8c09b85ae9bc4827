import { UnsupportedError } from "../../errors.ts";
import { withinMs } from "../../io/time-limit.ts";

/** A compiled pattern. Files come from strangers, so all that it is asked takes a limited time together.
 *  @throws UnsupportedError naming the pattern, where it takes longer */
export interface PythonRegExp {
  test(text: string): boolean;
  exec(text: string): RegExpExecArray | null;
}

const LIMIT_MS = 2000;

const FLAGS = /^\(\?([a-zA-Z]+)\)/;

/** PEFT configurations hold Python `re` patterns. Compiles one anchored at the start, and at the end too with
 *  `full` (`re.fullmatch`, otherwise `re.match`). Translated: named groups, leading flags, `\A`, `\Z`, `{,n}`,
 *  comments, `]` first in a class; the rest of the syntax is the same in both languages.
 *  @throws UnsupportedError for syntax that JavaScript does not have (verbose mode, atomic groups, …). */
export function pythonRegExp(source: string, full: boolean): PythonRegExp {
  const pattern = compiled(source, full);
  let leftMs = LIMIT_MS;
  const exec: PythonRegExp["exec"] = (text) => {
    const started = performance.now();
    const found = leftMs > 0 ? withinMs(leftMs, () => pattern.exec(text)) : null;
    leftMs -= performance.now() - started;
    if (found !== null) return found.value;
    throw new UnsupportedError(
      `regular expression ${JSON.stringify(source.slice(0, 200))}: takes more than ${LIMIT_MS / 1000} s (on ${JSON.stringify(text.slice(0, 100))})`,
    );
  };
  return { exec, test: (text) => exec(text) !== null };
}

function compiled(source: string, full: boolean): RegExp {
  const flags = FLAGS.exec(source)?.[1] ?? "";
  const body = source.replace(FLAGS, "");
  try {
    return new RegExp(`^(?:${translate(body)})${full ? "$" : ""}`, jsFlags(flags));
  } catch (error) {
    throw new UnsupportedError(`regular expression ${JSON.stringify(source)}: ${(error as Error).message}`);
  }
}

function jsFlags(flags: string): string {
  const kept = flags.replace(/[au]/g, ""); // Unicode or ASCII classes: no difference on module names
  if (/[^ims]/.test(kept)) throw new SyntaxError(`flag "${kept}" is not supported`);
  return [...new Set(kept)].join("");
}

/** Escapes, groups and classes, one token at a time; alternatives ordered so that escapes win. */
const TOKEN =
  /\\[AZ]|\\[\s\S]|\(\?P<|\(\?P=(\w+)\)|\(\?#[^)]*\)|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]|\{,(\d+)\}|[\s\S]/g;

function translate(body: string): string {
  return body.replace(TOKEN, (token: string, backReference?: string, atMost?: string) => {
    if (token === "\\A") return "^";
    if (token === "\\Z") return "$";
    if (token === "(?P<") return "(?<";
    if (backReference !== undefined) return `\\k<${backReference}>`;
    if (token.startsWith("(?#")) return "";
    if (token.length > 1 && token.startsWith("[")) return token.replace(/^(\[\^?)\](?=.)/s, "$1\\]");
    return atMost === undefined ? token : `{0,${atMost}}`;
  });
}
