import type { AnswerForm } from "./answer-form.ts";

/** Tokens of a model, as a grammar needs them. */
export interface GrammarTokens {
  /** Of all tokens, one behind the other; none of those that are never allowed. */
  readonly bytes: Uint8Array;
  /** Where each token's end. */
  readonly ends: Uint32Array;
  /** Allowed where the text is complete. */
  readonly stopIds: readonly number[];
}

/** What the grammar's thread is asked. Tokens and matchers have numbers that the asker gives. */
export type GrammarRequest =
  | { readonly kind: "tokens"; readonly tokens: number; readonly given: GrammarTokens }
  /** Nobody has the model any more; answers under way go on. */
  | { readonly kind: "forget"; readonly tokens: number }
  /** Begins an answer. */
  | { readonly kind: "begin"; readonly matcher: number; readonly tokens: number; readonly form: AnswerForm }
  | { readonly kind: "accept"; readonly matcher: number; readonly id: number }
  | { readonly kind: "end"; readonly matcher: number };

/** Its reply to "begin" and "accept": the tokens that may come next; null after the last one. */
export type GrammarReply =
  | { readonly matcher: number; readonly mask: Int32Array | null }
  | { readonly matcher: number; readonly error: string };
