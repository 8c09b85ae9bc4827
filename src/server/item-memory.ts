/** Answers that later requests refer to by their ids, as the Vercel AI SDK does; the oldest are forgotten. */
export interface ItemMemory {
  keep(id: string, text: string): void;
  /** undefined: not known, or forgotten. */
  recall(id: string): string | undefined;
}

/** Memory of at most `maxCharacters` UTF-16 units. Ids are random: whoever knows one was given it. */
export function createItemMemory(maxCharacters: number): ItemMemory {
  const texts = new Map<string, string>();
  const sizeOf = (id: string, text: string): number => id.length + text.length;
  let size = 0;
  return {
    keep(id, text) {
      texts.set(id, text);
      size += sizeOf(id, text);
      for (const [oldest, old] of texts) {
        if (size <= maxCharacters) break;
        texts.delete(oldest);
        size -= sizeOf(oldest, old);
      }
    },
    recall: (id) => texts.get(id),
  };
}
