import type { Tensor } from "../tensor/tensor.ts";
import type { Cache } from "./cache.ts";
import type { Decoding } from "./decoding.ts";
import type { Continuation, GeneratedPiece } from "./stream.ts";

/** What logits are fed to. */
export type Fed = Pick<Continuation, "prompt" | "finishReason" | "push">;

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

/** Tokens in common from which on copying is worth it. */
const SHARED_TOKENS = 16;
/** Columns that an idle lane keeps the memory of. */
const KEPT_ROOM = 512;

/** A row of the cache, from the first one on: answers whose prompt is read, then those that are read. */
interface Row {
  readonly answer: Answer;
  /** Tokens whose keys and values are held, and those to come. */
  readonly ids: number[];
  /** Of `ids`, tokens that the cache holds. */
  held: number;
  failure?: unknown;
}

interface KeptRow {
  readonly voice: string;
  readonly ids: readonly number[];
  usedAt: number;
}

/** An empty lane. */
export function createLane({ cache, prepare, rows: most, keptRows, piece, release }: LaneParts): Lane {
  let rows: Row[] = [];
  let reading = 0; // index of the first row that is read
  const kept: (KeptRow | null)[] = Array.from({ length: keptRows }, () => null);
  let clock = 0;

  const end = async (r: number, error?: unknown): Promise<void> => {
    const row = rows[r] as Row;
    if (error === undefined && !row.answer.isCancelled) await keep(r);
    await remove(r);
    row.answer.end(error);
  };

  /** Copies a row to where it stays after its answer. */
  const keep = async (r: number): Promise<void> => {
    const { answer, ids, held } = rows[r] as Row;
    if (held < SHARED_TOKENS || keptRows === 0) return;
    const ages = kept.map((k) => k?.usedAt ?? 0); // those that are free first
    const at = ages.indexOf(Math.min(...ages));
    await cache.copy(r, most + at);
    kept[at] = { voice: answer.voice, ids: ids.slice(0, held), usedAt: ++clock };
  };

  /** Takes a row out; others take its place, so that those that decode stay side by side. */
  const remove = async (r: number): Promise<void> => {
    const move = async (from: number, to: number): Promise<void> => {
      if (from === to) return;
      if ((rows[from] as Row).held > 0) await cache.copy(from, to);
      else cache.truncate(to);
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
    cache.truncate(rows.length);
  };

  /** Takes over what another row holds of the same tokens, but for the last one, whose logits are wanted. */
  const takeOver = async (row: Row, r: number): Promise<void> => {
    const { voice } = row.answer;
    const sources = [
      ...rows.map((one, i) => ({ voice: one.answer.voice, ids: one.ids.slice(0, one.held), at: i })),
      ...kept.flatMap((k, i) => (k ? [{ voice: k.voice, ids: k.ids, at: most + i }] : [])),
    ].filter((s) => s.voice === voice);
    const best = sources
      .map((s) => ({ ...s, common: Math.min(commonLength(s.ids, row.ids), row.ids.length - 1) }))
      .reduce((a, b) => (b.common > a.common ? b : a), { at: -1, common: 0 } as {
        at: number;
        common: number;
      });
    if (best.common < SHARED_TOKENS) return;
    await cache.copy(best.at, r);
    cache.truncate(r, best.common);
    row.held = best.common;
    const source = kept[best.at - most];
    if (source) source.usedAt = ++clock;
  };

  const dropCancelled = async (): Promise<void> => {
    for (let r = rows.length - 1; r >= 0; r--) if ((rows[r] as Row).answer.isCancelled) await end(r);
  };

  /** Gives an answer its logits; what goes wrong with them is its own affair. */
  const push = (row: Row, logits: Float32Array): void => {
    try {
      const piece = row.answer.continuation.push(logits);
      if (!piece) return;
      row.ids.push(piece.id);
      row.answer.give(piece);
    } catch (error) {
      row.failure = error;
    }
  };

  const everyAnswer = (): readonly Answer[] => rows.map(({ answer }) => answer);

  const readPiece = async (): Promise<number> => {
    const row = rows[reading];
    if (!row) return 0;
    if (row.held === 0) await takeOver(row, reading);
    const tokens = row.ids.slice(row.held, row.held + piece);
    const { decoding, feeds } = await prepare([row.answer], everyAnswer());
    const [logits] = await decoding.add(cache, { first: reading, tokens: [tokens], feeds }, "last");
    row.held += tokens.length;
    if (row.held < row.ids.length) return tokens.length;
    push(row, logits as Float32Array);
    reading++;
    return tokens.length;
  };

  const decode = async (count: number): Promise<number> => {
    if (count === 0) return 0;
    const decoding = rows.slice(0, count);
    const tokens = decoding.map(({ ids, held }) => ids.slice(held));
    const parts = await prepare(everyAnswer().slice(0, count), everyAnswer());
    const logits = await parts.decoding.add(cache, { first: 0, tokens, feeds: parts.feeds }, "last");
    decoding.forEach((row, r) => {
      row.held = row.ids.length;
      push(row, logits[r] as Float32Array);
    });
    return count;
  };

  const endFinished = async (): Promise<void> => {
    for (let r = reading - 1; r >= 0; r--) {
      const { answer, failure } = rows[r] as Row;
      if (failure !== undefined || answer.continuation.finishReason !== null) await end(r, failure);
    }
    if (rows.length > 0 || cache.room <= KEPT_ROOM) return;
    kept.fill(null);
    await cache.drop();
  };

  /** Does some work; where it fails, so do all answers, since what the cache holds is not known any more. */
  const work = async <T>(make: () => Promise<T>): Promise<T | null> => {
    try {
      return await make();
    } catch (error) {
      for (const { answer } of rows) answer.end(error);
      rows = [];
      reading = 0;
      kept.fill(null);
      await cache.drop();
      return null;
    }
  };

  const clear = async (): Promise<void> => {
    for (const { answer } of rows) answer.end();
    rows = [];
    reading = 0;
    kept.fill(null);
    await cache.drop();
  };

  return {
    get running() {
      return rows.length;
    },
    admit: async (answer) => {
      await cache.setRows(most + keptRows);
      cache.truncate(rows.length);
      rows.push({ answer, ids: [...answer.continuation.prompt], held: 0 });
    },
    step: async () => {
      const done = await work(async () => {
        await dropCancelled();
        const prompt = await readPiece();
        await endFinished(); // a prompt may be answered by its first token
        const generated = await decode(reading);
        await endFinished();
        return { prompt, generated };
      });
      return done ?? { prompt: 0, generated: 0 };
    },
    clear,
    close: async () => {
      await clear();
      await release();
    },
  };
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}
