import { InputError, RuntimeError } from "../errors.ts";
import type { AnswerForm } from "./answer-form.ts";
import { GrammarRefusal } from "./grammar-thread.ts";
import { type GrammarModel, grammarPlace } from "./grammar-threads.ts";

export type { GrammarModel };

/** Holds one answer to its form, token by token. */
export interface Grammar {
  /** Settles when the next mask is there, or cannot be; null: it is. */
  readonly waits: Promise<void> | null;
  /** Bit i of the whole: token i may come next. @throws RuntimeError while it `waits`, and where the grammar failed */
  mask(): Int32Array;
  /** Takes the token that came next. @throws RuntimeError for one that may not */
  accept(id: number): void;
  /** The answer is over: frees what it took. Without a call that happens when the grammar is collected. */
  end(): void;
}

/** Begins the grammar of one answer. */
export type CreateGrammar = typeof createGrammar;

const forgotten = new FinalizationRegistry<() => void>((end) => end());

const abandoned = (): never => {
  throw new RuntimeError("the answer was ended before it began");
};
/** Of an answer that nobody waits for. */
const ABANDONED: Grammar = { waits: null, mask: abandoned, accept: abandoned, end: () => undefined };

/** Grammar of one answer, in a thread that all share. It and the model's tokens are made ready with the first one. An answer that is
 *  aborted before it begins has one that throws.
 *  @throws InputError for a form that the library cannot compile; `schemaProblems` tells most in advance */
export async function createGrammar(
  form: AnswerForm,
  model: GrammarModel,
  signal?: AbortSignal,
): Promise<Grammar> {
  const { thread, tokens, leave } = grammarPlace(form, model);
  const first = await thread.begin(tokens, form, signal).catch((error: Error) => {
    leave();
    if (signal?.aborted) return null;
    if (!(error instanceof GrammarRefusal)) throw error;
    const problem = { where: "responseFormat", message: error.message };
    throw new InputError("the answer cannot be held to this", [problem]);
  });
  if (first === null) return ABANDONED;
  const end = endOf(thread, first.matcher, leave);
  if (signal?.aborted) {
    end();
    return ABANDONED;
  }
  const grammar = follow(first.mask, (id) => thread.accept(first.matcher, id), end);
  forgotten.register(grammar, end, grammar);
  return grammar;
}

/** Apart from the grammar, which it must not keep in memory. */
function endOf(thread: { end(matcher: number): void }, matcher: number, leave: () => void): () => void {
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    leave();
    thread.end(matcher);
  };
}

function follow(
  first: Int32Array,
  next: (id: number) => Promise<Int32Array | null>,
  end: () => void,
): Grammar {
  let mask: Int32Array | null = first;
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
      waits = next(id)
        .then((given) => {
          mask = given;
        })
        .catch((error: unknown) => {
          failure = error;
        })
        .then(() => {
          waits = null;
        });
    },
    end: () => {
      forgotten.unregister(grammar);
      end();
    },
  };
  return grammar;
}
