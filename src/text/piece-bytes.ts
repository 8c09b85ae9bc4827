import { UnsupportedError } from "../errors.ts";

/** How the ids of one tokenizer turn into text. */
export interface PieceBytes {
  /** UTF-8 bytes of an id, memoized. */
  of(id: number): Uint8Array;
  /** Text of the bytes of successive ids. */
  join(pieces: readonly Uint8Array[]): string;
}

interface Step {
  readonly type: string;
  readonly config: Readonly<Record<string, unknown>>;
}

const EMPTY = new Uint8Array(0);
const utf8 = new TextEncoder();

/** Bytes of every id under the `decoder` of a tokenizer.json: byte-level (GPT-2), WordPiece (words apart by one space, also
 *  before punctuation), BPEDecoder (a suffix ends each word), or SentencePiece's replace, byte-fallback, fuse and strip. Added tokens
 *  are their own text, but what SentencePiece's steps replace is replaced in them too (Gemma has runs of spaces as added tokens).
 *  @throws UnsupportedError for any other decoder. */
export function pieceBytes(
  decoder: unknown,
  vocab: readonly string[],
  added: ReadonlyMap<number, string>,
): PieceBytes {
  const steps = flatten(decoder);
  const wordPieces = steps.find((s) => s.type === "WordPiece");
  const isByteLevel = steps.some((s) => s.type === "ByteLevel");
  const pieceBytesOf = isByteLevel ? byteLevel : sentencePiece(steps);
  const endsWithSpace = steps.some(({ type }) => type === "BPEDecoder");
  const toBytes = wordPieces ? wordPiece(wordPieces) : pieceBytesOf;
  const stripsSpace = steps.some(stripsLeadingSpace);
  const known: Uint8Array[] = [];
  const compute = (id: number): Uint8Array => {
    const text = added.get(id);
    if (text !== undefined) return isByteLevel || wordPieces ? utf8.encode(text) : pieceBytesOf(text);
    const piece = vocab[id];
    return piece === undefined ? EMPTY : toBytes(piece);
  };
  return {
    of: (id) => {
      known[id] ??= compute(id);
      return known[id];
    },
    join: (pieces) => {
      const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(concatenate(pieces));
      const started = stripsSpace && text.startsWith(" ") ? text.slice(1) : text;
      return endsWithSpace && started.endsWith(" ") ? started.slice(0, -1) : started;
    },
  };
}

function flatten(decoder: unknown): Step[] {
  const config = (decoder ?? {}) as Readonly<Record<string, unknown>>;
  const type = String(config.type);
  if (type === "Sequence") return (config.decoders as readonly unknown[]).flatMap(flatten);
  if (
    [
      "ByteLevel",
      "Replace",
      "ByteFallback",
      "Fuse",
      "Strip",
      "Metaspace",
      "WordPiece",
      "BPEDecoder",
    ].includes(type)
  )
    return [{ type, config }];
  throw new UnsupportedError(
    `tokenizer.json: decoder ${JSON.stringify(config.type ?? null)} is not supported; known: ByteLevel, WordPiece, BPEDecoder, Metaspace, and sequences of Replace, ByteFallback, Fuse, Strip`,
  );
}

function stripsLeadingSpace({ type, config }: Step): boolean {
  if (type === "WordPiece") return true;
  if (type === "Metaspace") return config.prepend_scheme !== "never";
  return type === "Strip" && config.content === " " && config.start === 1;
}

/** Inverse of GPT-2's byte-to-character table: printable Latin-1 stands for itself, the other 68 bytes for U+0100 on. */
const BYTE_OF_CHAR: ReadonlyMap<string, number> = (() => {
  const isPrintable = (b: number): boolean => (b > 32 && b < 127) || (b > 160 && b !== 173);
  const table = new Map<string, number>();
  let shifted = 256;
  for (let b = 0; b < 256; b++) table.set(String.fromCharCode(isPrintable(b) ? b : shifted++), b);
  return table;
})();

function byteLevel(piece: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of piece) {
    const byte = BYTE_OF_CHAR.get(char);
    if (byte === undefined) return utf8.encode(piece);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function wordPiece({ config }: Step): (piece: string) => Uint8Array {
  const prefix = String(config.prefix ?? "##");
  return (piece) => utf8.encode(piece.startsWith(prefix) ? piece.slice(prefix.length) : ` ${piece}`);
}

function sentencePiece(steps: readonly Step[]): (piece: string) => Uint8Array {
  const replacements = steps.flatMap(({ type, config }): [string, string][] => {
    if (type === "BPEDecoder") return [[String(config.suffix ?? "</w>"), " "]];
    if (type === "Metaspace") return [[String(config.replacement ?? "▁"), " "]];
    const pattern = config.pattern as { readonly String?: string } | undefined;
    return type === "Replace" && pattern?.String !== undefined
      ? [[pattern.String, String(config.content)]]
      : [];
  });
  const byteFallback = steps.some((s) => s.type === "ByteFallback");
  return (piece) => {
    const byte = byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return utf8.encode(replacements.reduce((text, [from, to]) => text.replaceAll(from, to), piece));
  };
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
