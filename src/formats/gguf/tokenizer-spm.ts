import { FormatError } from "../../errors.ts";
import { type GgufVocabulary, type RebuiltTokenizer, TokenType, tokenizerOf } from "./vocabulary.ts";

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
}

/** Every way to put a token together from two others. */
function splitsOf(token: string, score: number, ids: ReadonlyMap<string, number>): Merge[] {
  const splits: Merge[] = [];
  for (let cut = 1; cut < token.length; cut++) {
    const left = token.slice(0, cut);
    const right = token.slice(cut);
    if (ids.has(left) && ids.has(right)) splits.push({ left, right, score });
  }
  const rank = (m: Merge): [number, number] => [ids.get(m.left) as number, ids.get(m.right) as number];
  return splits.sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1]);
}

/** Merges in the order in which SentencePiece would apply them: SentencePiece always joins the pair whose joined token
 *  has the best score, so every split of every token is a merge, ranked by the token's score (the derivation of
 *  transformers' slow-tokenizer conversion, ties included). */
function derivedMerges(vocabulary: GgufVocabulary): [string, string][] {
  const { tokens, types, scores } = vocabulary;
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries())
    if (types[id] !== TokenType.control && types[id] !== TokenType.unknown) ids.set(token, id);
  const merges = [...ids].flatMap(([token, id]) => splitsOf(token, scores[id] as number, ids));
  // Lengths in code points, as Python counts them.
  const length = (text: string): number => [...text].length;
  return merges
    .sort((a, b) => b.score - a.score || length(b.left) - length(a.left) || length(b.right) - length(a.right))
    .map(({ left, right }) => [left, right]);
}

/** tokenizer.json of a SentencePiece BPE vocabulary (`tokenizer.ggml.model` "llama"): ▁ for spaces, one in front, bytes
 *  for characters outside the vocabulary. @throws FormatError without scores. */
export function sentencePieceTokenizer(vocabulary: GgufVocabulary): RebuiltTokenizer {
  const { tokens, types, scores, path, addSpacePrefix } = vocabulary;
  if (scores.length === 0)
    throw new FormatError(path, "has a SentencePiece vocabulary without tokenizer.ggml.scores");
  const toMeta = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const fromMeta = { type: "Replace", pattern: { String: "▁" }, content: " " };
  const prefix = addSpacePrefix ? [{ type: "Prepend", prepend: "▁" }] : [];
  const strip = addSpacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [];
  return tokenizerOf(vocabulary, {
    addBos: true,
    normalizer: { type: "Sequence", normalizers: [...prefix, toMeta] },
    preTokenizer: null,
    postProcessor: null,
    decoder: {
      type: "Sequence",
      decoders: [fromMeta, { type: "ByteFallback" }, { type: "Fuse" }, ...strip],
    },
    model: {
      unk_token: tokens.find((_, id) => types[id] === TokenType.unknown) ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: types.includes(TokenType.byte),
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: derivedMerges(vocabulary),
    },
  });
}
