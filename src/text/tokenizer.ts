/** Encoder and decoder of one model's tokens. */
export interface Tokenizer {
  /** Size of the id space, added tokens included. */
  readonly vocabSize: number;
  /** Id of a token's exact text, or undefined. */
  tokenId(token: string): number | undefined;
  /** Text of an id as it stands in the vocabulary. */
  token(id: number): string | undefined;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  /** The model expects a BOS in front of plain text (chat templates write their own). */
  readonly addBos: boolean;
  /** Token ids of text. Special tokens written in the text are recognised only with `special: true` (chat template
   *  output); user text keeps them literal. Never adds BOS or EOS by itself. */
  encode(text: string, options?: { readonly special?: boolean }): number[];
  /** Text of ids; special tokens are left out unless `special: true`. */
  decode(ids: readonly number[] | Int32Array, options?: { readonly special?: boolean }): string;
}
