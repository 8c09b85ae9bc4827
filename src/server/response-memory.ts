/** What is remembered of a response, as texts of JSON. */
export interface KeptResponse {
  /** The response itself. */
  readonly response: string;
  /** Items of its input, without those of the response that it goes on from. */
  readonly input: readonly string[];
  /** Items of its output by their ids, as they come back as input. */
  readonly output: ReadonlyMap<string, string>;
  /** Id of the response that it goes on from. */
  readonly previous: string | null;
}

/** Responses that later requests refer to by their ids, or by those of their items; those used least recently are forgotten. */
export interface ResponseMemory {
  keep(id: string, kept: KeptResponse): void;
  /** undefined: not known, or forgotten. */
  recall(id: string): KeptResponse | undefined;
  /** An item of an answer; undefined: not known, or forgotten. */
  recallItem(id: string): string | undefined;
  /** Items of a conversation up to a response and with it; null where a response of it is not known any more. */
  conversation(id: string): readonly string[] | null;
  /** False: it was not known. */
  forget(id: string): boolean;
}

/** Memory of at most `maxCharacters` UTF-16 units. Ids are random: whoever knows one was given it. */
export function createResponseMemory(maxCharacters: number): ResponseMemory {
  const responses = new Map<string, KeptResponse>(); // the one used last comes last
  const ofItem = new Map<string, string>(); // id of an item → that of its response
  let size = 0;

  const forget = (id: string): boolean => {
    const kept = responses.get(id);
    if (!kept) return false;
    responses.delete(id);
    for (const item of kept.output.keys()) ofItem.delete(item);
    size -= sizeOf(id, kept);
    return true;
  };
  /** It is used. */
  const recall = (id: string): KeptResponse | undefined => {
    const kept = responses.get(id);
    if (!kept) return undefined;
    responses.delete(id);
    responses.set(id, kept);
    return kept;
  };
  return {
    recall,
    forget,
    keep: (id, kept) => {
      if (sizeOf(id, kept) > maxCharacters) return; // it would push out all others, and then itself
      responses.set(id, kept);
      for (const item of kept.output.keys()) ofItem.set(item, id);
      size += sizeOf(id, kept);
      for (const oldest of responses.keys()) {
        if (size <= maxCharacters) break;
        forget(oldest);
      }
    },
    recallItem: (item) => recall(ofItem.get(item) ?? "")?.output.get(item),
    conversation: (id) => {
      const turns: KeptResponse[] = [];
      for (let next: string | null = id; next !== null; ) {
        const kept = recall(next);
        if (!kept) return null;
        turns.push(kept);
        next = kept.previous;
      }
      return turns.reverse().flatMap(({ input, output }) => [...input, ...output.values()]);
    },
  };
}

function sizeOf(id: string, { response, input, output }: KeptResponse): number {
  const texts = [id, response, ...input, ...output.keys(), ...output.values()];
  return texts.reduce((n, text) => n + text.length, 0);
}
