import { InputError, RuntimeError } from "../errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { AnswerForm } from "./answer-form.ts";
import type { GrammarTokens } from "./grammar-protocol.ts";
import { type GrammarThread, startGrammarThread } from "./grammar-thread.ts";

/** Holds one answer to its form, token by token. */
export interface Grammar {
  /** Settles when the next mask is there, or cannot be; null: it is. */
  readonly waits: Promise<void> | null;
  /** Bit i of the whole: token i may come next. @throws RuntimeError while it `waits`, and where the grammar failed */
  mask(): Int32Array;
  /** Takes the token that came next. @throws RuntimeError for one that may not */
  accept(id: number): void;
}

/** The model whose tokens a grammar allows. */
export interface GrammarModel {
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  /** Special tokens that are part of a text. */
  readonly shown: readonly string[];
}

let thread: GrammarThread | null = null;
/** Numbers of a tokenizer's tokens in the thread, by those shown. */
let known = new WeakMap<Tokenizer, Map<string, number>>();
const forgotten = new FinalizationRegistry<{ readonly matcher: number; readonly end: GrammarThread["end"] }>(
  ({ matcher, end }) => end(matcher),
);

function theThread(): GrammarThread {
  thread ??= startGrammarThread(() => {
    thread = null;
    known = new WeakMap();
  });
  return thread;
}

const abandoned = (): never => {
  throw new RuntimeError("the answer was ended before it began");
};
/** Of an answer that nobody waits for. */
const ABANDONED: Grammar = { waits: null, mask: abandoned, accept: abandoned };

/** Grammar of one answer, in a thread that all share. It and the model's tokens are made ready with the first one. An answer that is
 *  aborted before it begins has one that throws.
 *  @throws InputError for a form that the library cannot compile; `schemaProblems` tells most in advance */
export async function createGrammar(
  form: AnswerForm,
  model: GrammarModel,
  signal?: AbortSignal,
): Promise<Grammar> {
  const { addTokens, begin, accept, end } = theThread();
  const key = model.shown.join("\n");
  const ofTokenizer = known.get(model.tokenizer) ?? new Map<string, number>();
  known.set(model.tokenizer, ofTokenizer);
  const tokens = ofTokenizer.get(key) ?? addTokens(tokensOf(model));
  ofTokenizer.set(key, tokens);
  const first = await begin(tokens, form, signal).catch((error: Error) => {
    if (signal?.aborted) return null;
    const problem = { where: "responseFormat", message: error.message };
    throw new InputError("the answer cannot be held to this", [problem]);
  });
  if (first === null) return ABANDONED;
  const { matcher } = first;
  let mask: Int32Array | null = first.mask;
  let waits: Promise<void> | null = null;
  let failure: unknown = null;
  const grammar: Grammar = {
    get waits() {
      return waits;
    },
    mask: () => {
      if (failure !== null) throw failure;
      if (mask === null) throw new RuntimeError("the grammar's next tokens are not ready");
      return mask;
    },
    accept: (id) => {
      const isAllowed = ((grammar.mask()[id >> 5] ?? 0) >>> (id & 31)) & 1;
      if (!isAllowed) throw new RuntimeError(`token ${id} does not fit the response format`);
      mask = null;
      waits = accept(matcher, id)
        .then((next) => {
          mask = next;
        })
        .catch((error: unknown) => {
          failure = error;
        })
        .then(() => {
          waits = null;
        });
    },
  };
  forgotten.register(grammar, { matcher, end });
  return grammar;
}

/** Bytes that are part of no UTF-8; the library allows some of them in texts. */
function isText(byte: number): boolean {
  return byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5;
}

function tokensOf({ tokenizer, vocabSize, eosIds, shown }: GrammarModel): GrammarTokens {
  const isShown = new Set(shown.map((token) => tokenizer.tokenId(token)));
  const parts: Uint8Array[] = [];
  const ends = new Uint32Array(vocabSize);
  let size = 0;
  for (let id = 0; id < vocabSize; id++) {
    const bytes = tokenizer.tokenBytes(id);
    if ((!tokenizer.isSpecial(id) || isShown.has(id)) && bytes.every(isText)) {
      parts.push(bytes);
      size += bytes.length;
    }
    ends[id] = size;
  }
  return { bytes: Buffer.concat(parts), ends, stopIds: eosIds };
}
