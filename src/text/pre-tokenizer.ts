import { UnsupportedError } from "../errors.ts";

/** GPT-2's pattern: contractions, then words, numbers and other characters with the space before them, then spaces. */
const GPT2_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

type Config = Readonly<Record<string, unknown>>;

const split = (regex: string): Config => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});

/** The `pre_tokenizer` of a tokenizer.json with the parts rewritten in which `@huggingface/tokenizers` 0.2 cuts text
 *  otherwise than the reference implementation:
 *  - `ByteLevel` uses JavaScript's `\s`, which counts U+FEFF and not U+0085 as white space; as a `Split` the library
 *    translates the same pattern with Unicode's definition;
 *  - `Digits` knows ASCII digits only, the reference every `\p{N}`. */
export function correctPreTokenizer(config: unknown): unknown {
  if (typeof config !== "object" || config === null) return config;
  const node = config as Config;
  if (node.type === "Sequence") {
    const parts = Array.isArray(node.pretokenizers) ? node.pretokenizers : [];
    return { ...node, pretokenizers: parts.map(correctPreTokenizer) };
  }
  if (node.type === "Digits") return split(node.individual_digits ? String.raw`\p{N}` : String.raw`\p{N}+`);
  if (node.type === "ByteLevel" && node.use_regex !== false) return byteLevelSequence(node);
  return config;
}

function byteLevelSequence(node: Config): Config {
  const bytes = { ...node, add_prefix_space: false, use_regex: false };
  return { type: "Sequence", pretokenizers: [split(GPT2_PATTERN), bytes] };
}

/** A pre-tokenizer puts a space in front of a text that does not begin with one: ByteLevel with `add_prefix_space`, alone or as the
 *  first of several steps. (The library cuts texts where it should only begin them.)
 *  @throws UnsupportedError where such a step comes later, and would put a space in front of every piece */
export function putsSpaceFirst(config: unknown): boolean {
  if (typeof config !== "object" || config === null) return false;
  const node = config as Config;
  if (node.type === "ByteLevel") return node.add_prefix_space === true;
  const [first, ...more] =
    node.type === "Sequence" && Array.isArray(node.pretokenizers) ? node.pretokenizers : [];
  if (more.some(putsSpaceFirst))
    throw new UnsupportedError(
      "tokenizer.json: pre_tokenizer ByteLevel with add_prefix_space behind other steps is not supported",
    );
  return putsSpaceFirst(first);
}

/** The regex of GPT-4's kind, with numbers in groups of up to `digits`. */
const gpt4Pattern = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** Patterns that are known to take a time that grows with the text. */
const KNOWN_PATTERNS: ReadonlySet<string> = new Set([
  GPT2_PATTERN,
  gpt4Pattern("\\p{N}"),
  gpt4Pattern("\\p{N}{1,3}"),
  ...["\\p{N}", "\\p{N}+", "\\p{N}{1,3}", " {2,}"],
]);

/** Regular expressions of a tokenizer's parts that nobody here knows. */
export function foreignPatterns(part: unknown): string[] {
  if (typeof part !== "object" || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) => {
    if (key !== "Regex") return foreignPatterns(value);
    return typeof value === "string" && !KNOWN_PATTERNS.has(value) ? [value] : [];
  });
}
