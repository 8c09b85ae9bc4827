/** Most bytes of a small file (configuration, template, card, state) that is read whole. */
export const SMALL_FILE_BYTES: number = 16 * 2 ** 20;
/** The same for a tokenizer.json: the largest in use have some 30 MB. */
export const TOKENIZER_FILE_BYTES: number = 256 * 2 ** 20;
/** The same for lists of the tensors of a model's shards. */
export const INDEX_FILE_BYTES: number = 64 * 2 ** 20;
