import { concatBytes, isUtf8, textOfUtf8, utf8Of } from "../../io/bytes.ts";
import { piecesOf } from "../../io/storage/storage.ts";
import type { ReadContext } from "../record.ts";

/** A line of a text file, without its line end. */
export interface Line {
  readonly text: string;
  /** 1-based. */
  readonly line: number;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const CHUNK_BYTES = 1 << 20;

/** Streams the lines of a file in UTF-8 or UTF-16. A byte-order mark is stripped, CRLF accepted, and CR alone where the file has no LF;
 *  lines of white space are given as they are. Lines that are too long or not UTF-8 are reported and left out. */
export async function* readLines(file: string, context: ReadContext): AsyncGenerator<Line> {
  for await (const { text, line, fault } of readAllLines(file, context))
    if (fault === null) yield { text, line };
    else context.bad({ file, line, unit: "line" }, fault);
}

/** A line, or what is wrong with it; then its text is empty. */
export interface CheckedLine extends Line {
  readonly fault: string | null;
}

/** The same with the lines that cannot be used, for records that go over several lines. */
export async function* readAllLines(file: string, context: ReadContext): AsyncGenerator<CheckedLine> {
  for await (const { bytes, line, size } of byteLines(file, context)) {
    const fault = bytes === null ? tooLong(size, context.maxLineBytes) : utf8Problem(bytes);
    yield { text: fault === null && bytes !== null ? textOfUtf8(bytes) : "", line, fault };
  }
}

interface ByteLine {
  /** Without the line's end; null if there are more than `maxLineBytes`. */
  readonly bytes: Uint8Array | null;
  readonly line: number;
  readonly size: number;
}

/** Splits a byte stream at newlines, holding at most `maxLineBytes` plus one chunk. */
async function* byteLines(file: string, context: ReadContext): AsyncGenerator<ByteLine> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let line = 1;
  const hold = (part: Uint8Array): void => {
    heldBytes += part.length;
    if (heldBytes > context.maxLineBytes) held = [];
    else held.push(part);
  };
  const take = (): ByteLine => {
    const whole = heldBytes > context.maxLineBytes ? null : concatBytes(held);
    const bytes = whole?.at(-1) === RETURN ? whole.subarray(0, -1) : whole;
    const taken = { bytes, line, size: heldBytes };
    held = [];
    heldBytes = 0;
    return taken;
  };
  let lineEnd: number | null = null;
  for await (const chunk of utf8Chunks(file, context)) {
    lineEnd ??= chunk.includes(NEWLINE) || !chunk.includes(RETURN) ? NEWLINE : RETURN;
    let start = 0;
    for (let end = chunk.indexOf(lineEnd); end >= 0; end = chunk.indexOf(lineEnd, start)) {
      hold(chunk.subarray(start, end));
      yield take();
      line++;
      start = end + 1;
    }
    if (start < chunk.length) hold(chunk.subarray(start));
  }
  if (heldBytes > 0) yield take();
}

/** The bytes of a text file as UTF-8, without a byte-order mark; UTF-16 is converted. Broken UTF-16 ends it, which is noted. */
export async function* utf8Chunks(file: string, context: ReadContext): AsyncGenerator<Uint8Array> {
  const opened = await context.files.open(file);
  try {
    yield* decoded(piecesOf(opened, CHUNK_BYTES), file, context);
  } finally {
    await opened.close();
  }
}

async function* decoded(
  chunks: AsyncIterable<Uint8Array>,
  file: string,
  context: ReadContext,
): AsyncGenerator<Uint8Array> {
  let decoder: InstanceType<typeof TextDecoder> | null = null;
  let isFirst = true;
  const textOf = (decode: () => string): string | null => {
    try {
      return decode();
    } catch {
      context.problems.add(file, `not valid UTF-16 (${decoder?.encoding})`);
      return null;
    }
  };
  for await (const chunk of chunks) {
    context.onBytes(chunk.length);
    const encoding = isFirst ? utf16Of(chunk) : null;
    if (encoding !== null) decoder = new TextDecoder(encoding, { fatal: true });
    const hasMark = isFirst && MARK.every((byte, i) => chunk[i] === byte);
    isFirst = false;
    if (decoder === null) yield hasMark ? chunk.subarray(MARK.length) : chunk;
    else {
      const text = textOf(() => decoder?.decode(chunk, { stream: true }) ?? "");
      if (text === null) return;
      yield utf8Of(text);
    }
  }
  const rest = textOf(() => decoder?.decode() ?? "");
  if (rest !== null && rest !== "") yield utf8Of(rest);
}

/** UTF-8's byte-order mark. */
const MARK: readonly number[] = [0xef, 0xbb, 0xbf];

/** UTF-16 that the first bytes of a file tell: by a byte-order mark, or by zeros beside characters of ASCII. */
function utf16Of(bytes: Uint8Array): "utf-16le" | "utf-16be" | null {
  if (bytes.length < 2) return null;
  const mark = ((bytes[0] as number) << 8) | (bytes[1] as number);
  if (mark === 0xfffe) return "utf-16le";
  if (mark === 0xfeff) return "utf-16be";
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  if (bytes.length < 4 || (a === 0) === (b === 0) || (c === 0) === (d === 0)) return null;
  return a === 0 && c === 0 ? "utf-16be" : b === 0 && d === 0 ? "utf-16le" : null;
}

function tooLong(bytes: number, limit: number): string {
  return `the line is ${bytes.toLocaleString("en")} bytes long; the limit is ${limit.toLocaleString("en")}`;
}

/** What is wrong with bytes as UTF-8, with the 1-based place of the first faulty byte; null if nothing. */
export function utf8Problem(bytes: Uint8Array): string | null {
  if (isUtf8(bytes)) return null;
  const at = firstInvalidByte(bytes);
  const value = at < bytes.length ? `0x${bytes[at]?.toString(16).padStart(2, "0")}` : "end of text";
  return `not valid UTF-8: byte ${at + 1} (${value})`;
}

/** Offset of the byte at which decoding fails. A prefix fails in streaming mode iff the fault lies inside it, so the
 *  place is found by bisection. */
export function firstInvalidByte(bytes: Uint8Array): number {
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (decodes(bytes.subarray(0, middle))) valid = middle;
    else invalid = middle;
  }
  return invalid - 1;
}

function decodes(prefix: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(prefix, { stream: true });
    return true;
  } catch {
    return false;
  }
}
