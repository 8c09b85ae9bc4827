import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
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

/** Streams the lines of a file in UTF-8 or UTF-16. The mark is stripped, CRLF accepted, and CR alone where
 *  the file has no LF; lines of white space are given as
 *  they are. Lines that are too long or not UTF-8 are reported and left out. */
export async function* readLines(file: string, context: ReadContext): AsyncGenerator<Line> {
  for await (const { bytes, line } of byteLines(file, context)) {
    const text = decodeLine(bytes, line, file, context);
    if (text !== null) yield { text, line };
  }
}

/** Splits a byte stream at newlines, holding at most `maxLineBytes` plus one chunk. */
async function* byteLines(
  file: string,
  context: ReadContext,
): AsyncGenerator<{ bytes: Buffer; line: number }> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let line = 1;
  const hold = (part: Buffer): void => {
    heldBytes += part.length;
    if (heldBytes > context.maxLineBytes) held = [];
    else held.push(part);
  };
  const take = (): Buffer | null => {
    const bytes = heldBytes > context.maxLineBytes ? null : Buffer.concat(held);
    const where = { file, line, unit: "line" } as const;
    if (bytes === null) context.bad(where, tooLong(heldBytes, context.maxLineBytes));
    held = [];
    heldBytes = 0;
    return bytes;
  };
  let lineEnd: number | null = null;
  for await (const chunk of utf8Chunks(file, context)) {
    lineEnd ??= chunk.includes(NEWLINE) || !chunk.includes(RETURN) ? NEWLINE : RETURN;
    let start = 0;
    for (let end = chunk.indexOf(lineEnd); end >= 0; end = chunk.indexOf(lineEnd, start)) {
      hold(chunk.subarray(start, end));
      const bytes = take();
      if (bytes !== null) yield { bytes, line };
      line++;
      start = end + 1;
    }
    if (start < chunk.length) hold(chunk.subarray(start));
  }
  const bytes = heldBytes > 0 ? take() : null;
  if (bytes !== null) yield { bytes, line };
}

/** The bytes of a text file as UTF-8; UTF-16 is converted. */
export async function* utf8Chunks(file: string, context: ReadContext): AsyncGenerator<Buffer> {
  let decoder: InstanceType<typeof TextDecoder> | null = null;
  let isFirst = true;
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    context.onBytes(chunk.length);
    const encoding = isFirst ? utf16Of(chunk) : null;
    if (encoding !== null) decoder = new TextDecoder(encoding);
    isFirst = false;
    yield decoder === null ? chunk : Buffer.from(decoder.decode(chunk, { stream: true }));
  }
  const rest = decoder?.decode() ?? "";
  if (rest !== "") yield Buffer.from(rest);
}

/** UTF-16 that the first bytes of a file tell: by a byte-order mark, or by zeros beside characters of ASCII. */
function utf16Of(bytes: Buffer): "utf-16le" | "utf-16be" | null {
  if (bytes.length < 2) return null;
  const mark = bytes.readUInt16BE(0);
  if (mark === 0xfffe) return "utf-16le";
  if (mark === 0xfeff) return "utf-16be";
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  if (bytes.length < 4 || (a === 0) === (b === 0) || (c === 0) === (d === 0)) return null;
  return a === 0 && c === 0 ? "utf-16be" : b === 0 && d === 0 ? "utf-16le" : null;
}

function tooLong(bytes: number, limit: number): string {
  return `the line is ${bytes.toLocaleString("en")} bytes long; the limit is ${limit.toLocaleString("en")}`;
}

function decodeLine(raw: Buffer, line: number, file: string, context: ReadContext): string | null {
  const bytes = raw.at(-1) === 0x0d ? raw.subarray(0, -1) : raw;
  const problem = utf8Problem(bytes);
  if (problem !== null) {
    context.bad({ file, line, unit: "line" }, problem);
    return null;
  }
  const text = bytes.toString("utf8");
  return line === 1 && text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** What is wrong with bytes as UTF-8, with the 1-based place of the first faulty byte; null if nothing. */
export function utf8Problem(bytes: Buffer): string | null {
  if (isUtf8(bytes)) return null;
  const at = firstInvalidByte(bytes);
  const value = at < bytes.length ? `0x${bytes[at]?.toString(16).padStart(2, "0")}` : "end of text";
  return `not valid UTF-8: byte ${at + 1} (${value})`;
}

/** Offset of the byte at which decoding fails. A prefix fails in streaming mode iff the fault lies inside it, so the
 *  place is found by bisection. */
export function firstInvalidByte(bytes: Buffer): number {
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (decodes(bytes.subarray(0, middle))) valid = middle;
    else invalid = middle;
  }
  return invalid - 1;
}

function decodes(prefix: Buffer): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(prefix, { stream: true });
    return true;
  } catch {
    return false;
  }
}
