import { delay } from "../io/turn.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Cache } from "./cache.ts";
import type { Decoding } from "./decoding.ts";
import { createKeptRows, type HeldRow } from "./kept-rows.ts";
import type { Continuation, GeneratedPiece } from "./request.ts";

/** What logits are fed to. */
export type Fed = Pick<Continuation, "prompt" | "finishReason" | "waits" | "push">;

/** A request under way. */
export interface Answer {
  readonly continuation: Fed;
  /** What the model is to it: keys and values of equal tokens are equal under the same. */
  readonly voice: string;
  /** Nobody waits for it any more. */
  readonly isCancelled: boolean;
  give(piece: GeneratedPiece): void;
  /** It is over; an error if it failed. */
  end(error?: unknown): void;
}

/** Computes the next tokens of some answers. */
export interface Lane {
  readonly running: number;
  /** A place for one more. */
  admit(answer: Answer): Promise<void>;
  /** One piece of the first prompt that is not read yet, and one token of every answer whose prompt is. Returns the tokens computed. */
  step(): Promise<{ readonly prompt: number; readonly generated: number }>;
  /** Ends every answer, and forgets what is held of the tokens so far. */
  clear(): Promise<void>;
  /** Clears it, and frees what computes it. */
  close(): Promise<void>;
}

/** What computes a lane. */
export interface LaneParts {
  readonly cache: Cache;
  /** The graph, and tensors of a run over some answers, in the order of their rows. `all`: every answer of the lane. */
  prepare(
    answers: readonly Answer[],
    all: readonly Answer[],
  ): Promise<{ readonly decoding: Decoding; readonly feeds: Readonly<Record<string, Tensor>> }>;
  /** Answers at once, at most. */
  readonly rows: number;
  /** Answers that ended, of which keys and values are kept for prompts that begin alike. */
  readonly keptRows: number;
  /** Tokens of a prompt at once: who is answered waits for as long. */
  readonly piece: number;
  /** Frees what computes it. */
  release(): Promise<void>;
}

/** Columns up to which an idle lane keeps the memory of its answers' rows. */
const IDLE_ROOM = 512;

/** How long a step waits for the masks of grammars, which mostly take less. */
const MOMENT_MS = 5;

/** A row of the cache, from the first one on: answers whose prompt is read, then those that are read. */
interface Row {
  readonly answer: Answer;
  /** Tokens whose keys and values are held, and those to come. */
  readonly ids: number[];
  /** Of `ids`, tokens that the cache holds. */
  held: number;
  /** Logits that its continuation cannot take yet. */
  logits: Float32Array | null;
  failure?: unknown;
}

/** An empty lane. */
export function createLane({ cache, prepare, rows: most, keptRows, piece, release }: LaneParts): Lane {
  let rows: Row[] = [];
  let reading = 0; // index of the first row that is read
  const kept = createKeptRows(cache, keptRows);
  /** Of the cache: those that are kept come first. */
  const at = (r: number): number => keptRows + r;
  const heldBy = (r: number): HeldRow => {
    const { answer, ids, held } = rows[r] as Row;
    return { at: at(r), voice: answer.voice, ids: ids.slice(0, held) };
  };

  const end = async (r: number, error?: unknown): Promise<void> => {
    const row = rows[r] as Row;
    if (error === undefined && !row.answer.isCancelled) await kept.keep(heldBy(r));
    await remove(r);
    row.answer.end(error);
  };

  /** Takes a row out; others take its place, so that those that decode stay side by side. */
  const remove = async (r: number): Promise<void> => {
    const move = async (from: number, to: number): Promise<void> => {
      if (from === to) return;
      if ((rows[from] as Row).held > 0) await cache.copy(at(from), at(to));
      else cache.truncate(at(to));
      rows[to] = rows[from] as Row;
    };
    let hole = r;
    if (r < reading) {
      reading--;
      await move(reading, r);
      hole = reading;
    }
    for (let i = hole; i + 1 < rows.length; i++) await move(i + 1, i);
    rows.length--;
    cache.truncate(at(rows.length));
  };

  /** Takes over what another row holds of the same tokens. */
  const takeOver = async (row: Row, r: number): Promise<void> => {
    const others = rows.map((_, i) => heldBy(i));
    const found = kept.find(row.answer.voice, row.ids, others);
    if (!found) return;
    await cache.copy(found.at, at(r));
    cache.truncate(at(r), found.common);
    row.held = found.common;
  };

  const dropCancelled = async (): Promise<void> => {
    for (let r = rows.length - 1; r >= 0; r--) if ((rows[r] as Row).answer.isCancelled) await end(r);
  };

  /** Gives an answer its logits; what goes wrong with them is its own affair. */
  const push = (row: Row, logits: Float32Array): void => {
    row.logits = row.answer.continuation.waits ? logits : null;
    if (row.logits) return;
    try {
      const piece = row.answer.continuation.push(logits);
      if (!piece) return;
      row.ids.push(piece.id);
      row.answer.give(piece);
    } catch (error) {
      row.failure = error;
    }
  };

  /** Answers that wait get their logits when they can take them; until then the others go on without them. */
  const pushHeldBack = async (): Promise<void> => {
    const held = rows.slice(0, reading).filter(({ logits }) => logits !== null);
    const waits = held.flatMap(({ answer }) => answer.continuation.waits ?? []);
    if (waits.length > 0) await Promise.race([Promise.all(waits), delay(MOMENT_MS)]);
    for (const row of held) push(row, row.logits as Float32Array);
  };

  const everyAnswer = (): readonly Answer[] => rows.map(({ answer }) => answer);

  const readPiece = async (): Promise<number> => {
    const row = rows[reading];
    if (!row) return 0;
    if (row.held === 0) await takeOver(row, reading);
    const tokens = row.ids.slice(row.held, row.held + piece);
    const { decoding, feeds } = await prepare([row.answer], everyAnswer());
    const [logits] = await decoding.add(cache, { first: at(reading), tokens: [tokens], feeds }, "last");
    row.held += tokens.length;
    if (row.held < row.ids.length) return tokens.length;
    push(row, logits as Float32Array);
    reading++;
    return tokens.length;
  };

  const decode = async (count: number): Promise<number> => {
    if (count === 0) return 0;
    const decoding = rows.slice(0, count);
    const tokens = decoding.map(({ ids, held }) => ids.slice(held)); // none of one that waits
    const going = decoding.filter(({ logits }) => logits === null);
    if (going.length === 0) return 0;
    const parts = await prepare(everyAnswer().slice(0, count), everyAnswer());
    const logits = await parts.decoding.add(cache, { first: at(0), tokens, feeds: parts.feeds }, "last");
    going.forEach((row, r) => {
      row.held = row.ids.length;
      push(row, logits[r] as Float32Array);
    });
    return going.length;
  };

  const endFinished = async (): Promise<void> => {
    for (let r = reading - 1; r >= 0; r--) {
      const { answer, failure } = rows[r] as Row;
      if (failure !== undefined || answer.continuation.finishReason !== null) await end(r, failure);
    }
    if (rows.length > 0 || cache.room <= IDLE_ROOM) return;
    if (kept.isUsed) await cache.setRows(keptRows);
    else await cache.drop();
  };

  /** Memory for one more row; it doubles, so that it is seldom copied. */
  const makeRow = async (): Promise<void> => {
    const needed = at(rows.length + 1);
    if (needed <= cache.lengths.length) return;
    await cache.setRows(at(Math.min(most, 2 ** Math.ceil(Math.log2(rows.length + 1)))));
  };

  /** Does some work; where it fails, so do all answers, since what the cache holds is not known any more. */
  const work = async <T>(make: () => Promise<T>): Promise<T | null> => {
    try {
      return await make();
    } catch (error) {
      await clear(error).catch(() => undefined); // answers are told first
      return null;
    }
  };

  const clear = async (error?: unknown): Promise<void> => {
    const ended = rows;
    rows = [];
    reading = 0;
    for (const { answer } of ended) answer.end(error);
    kept.clear();
    await cache.drop();
  };

  return {
    get running() {
      return rows.length;
    },
    admit: async (answer) => {
      await makeRow();
      cache.truncate(at(rows.length));
      rows.push({ answer, ids: [...answer.continuation.prompt], held: 0, logits: null });
    },
    step: async () => {
      const done = await work(async () => {
        await dropCancelled();
        const prompt = await readPiece();
        await pushHeldBack();
        await endFinished(); // a prompt may be answered by its first token
        const generated = await decode(reading);
        await endFinished();
        return { prompt, generated };
      });
      return done ?? { prompt: 0, generated: 0 };
    },
    clear: () => clear(),
    close: async () => {
      await clear();
      await release();
    },
  };
}
