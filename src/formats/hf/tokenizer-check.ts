import { InputError, type Problem } from "../../errors.ts";
import { isObject, kindOf } from "../../io/json.ts";

type Json = Readonly<Record<string, unknown>>;

/** Problems beyond this many are not looked for: a vocabulary has hundreds of thousands of entries. */
const LIMIT = 10;

/** Longest text of a token that is looked for in what is encoded. */
const TEXT_LIMIT = 4096;
const ADDED = `expected an object with content of at most ${TEXT_LIMIT} characters, and id`;

/** A text that can be a special token's. */
export function isTokenText(value: unknown): value is string {
  return typeof value === "string" && value.length <= TEXT_LIMIT;
}

function* addedTokenProblems(value: unknown): Generator<Problem> {
  if (value === undefined || value === null) return;
  if (!Array.isArray(value))
    yield { where: "added_tokens", message: `expected a list, got ${kindOf(value)}` };
  else
    for (const [i, token] of value.entries())
      if (!isObject(token) || !isTokenText(token.content) || !isTokenId(token.id))
        yield { where: `added_tokens[${i}]`, message: ADDED };
}

/** An id, which is an index: of more tokens than any model has. */
function isTokenId(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 24;
}

function isPair(merge: unknown): boolean {
  if (typeof merge === "string") return true;
  return Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string");
}

function* modelProblems(model: unknown): Generator<Problem> {
  if (!isObject(model)) return; // what reads it says which it wants
  const { vocab, merges } = model;
  if (isObject(vocab))
    for (const [token, id] of Object.entries(vocab))
      if (!isTokenId(id))
        yield { where: `model.vocab.${token}`, message: `expected an id, got ${kindOf(id)}` };
  if (Array.isArray(vocab))
    for (const [i, entry] of vocab.entries())
      if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "number")
        yield { where: `model.vocab[${i}]`, message: "expected a token and its score" };
  if (Array.isArray(merges))
    for (const [i, merge] of merges.entries())
      if (!isPair(merge)) yield { where: `model.merges[${i}]`, message: "expected two tokens" };
}

/** The lists of a tokenizer.json hold what they are lists of; which of them there must be depends on the kind of tokenizer.
 *  @throws InputError with the first entries that are something else */
export function checkTokenizerJson(json: Json, path: string): void {
  const problems: Problem[] = [];
  for (const found of [addedTokenProblems(json.added_tokens), modelProblems(json.model)])
    for (const problem of found) if (problems.push(problem) >= LIMIT) break;
  if (problems.length > 0) throw new InputError(`${path} is not a tokenizer:`, problems);
}
