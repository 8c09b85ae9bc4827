const SMOLLM2 = { layers: 30, hidden: 576, width: 576, kvWidth: 192, mlp: 1536, vocab: 49152 };

/** What the formula counts, in words. */
export const FLOP_FORMULA =
  "4·N·P − 2·N·d·(w + 2·kv) + 12·R·T²·w·L + 4·E·d·V + 6·N·L·r·(2·d + w + kv), with N = R·T tokens, P = L·(d·(2·w + 2·kv) + 3·d·m) " +
  "weights of the linear layers, w and kv the widths of queries and of keys, E edges: the forward pass and the gradients by the " +
  "inputs (none by frozen weights, none by the inputs of the first q, k and v), attention over whole rows, the output layer at " +
  "the edges, and LoRA on q and v. Work done twice (recompute) does not count";

/** Model FLOPs of a dense training step with LoRA of rank r on q and v. */
export function stepFlops({ rows, length, edges, rank }, c = SMOLLM2) {
  const tokens = rows * length;
  const linear = c.layers * c.hidden * (2 * c.width + 2 * c.kvWidth + 3 * c.mlp);
  const first = 2 * tokens * c.hidden * (c.width + 2 * c.kvWidth);
  const attention = 12 * rows * length ** 2 * c.width * c.layers;
  const head = 4 * edges * c.hidden * c.vocab;
  const lora = 6 * tokens * c.layers * rank * (2 * c.hidden + c.width + c.kvWidth);
  return 4 * tokens * linear - first + attention + head + lora;
}
