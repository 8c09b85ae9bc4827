/** Processes that do one piece of work together, one or several to a machine. Every member calls the same operations in the same order:
 *  one that does not leaves the others waiting. Ranks and operations are those of the MPI standard. */
export interface ProcessGroup {
  /** Number of this member, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Members on this machine. */
  readonly localSize: number;
  /** Adds up what members have, number by number, in place: afterwards all have the same sums. */
  sum(values: Float32Array | Float64Array): Promise<void>;
  /** What each member has, by rank. Values are those of the structured clone algorithm, without functions. */
  gather<T>(value: T): Promise<readonly T[]>;
  /** What member 0 has; what the others have does not count. */
  broadcast<T>(value: T): Promise<T>;
  /** Which members have the bytes that member 0 has, by rank. */
  alike(values: Float32Array): Promise<readonly boolean[]>;
  /** Ends the processes of all members at once, with this exit status; a process by itself goes on. */
  abort(status: number): void;
  /** Leaves the group, when all members have come to this. */
  close(): void;
}

/** A process by itself. */
export const ALONE: ProcessGroup = {
  rank: 0,
  size: 1,
  localSize: 1,
  sum: async () => undefined,
  gather: async (value) => [value],
  broadcast: async (value) => value,
  alike: async () => [true],
  abort: () => undefined,
  close: () => undefined,
};

/** Whether any member says so. */
export async function anyOf(group: ProcessGroup, isSo: boolean): Promise<boolean> {
  return group.size === 1 ? isSo : (await group.gather(isSo)).includes(true);
}

/** Work that each member does, the others once member 0 has done it: what it fetched or found out is there then. */
export async function firstThenOthers<T>(group: ProcessGroup, work: () => Promise<T>): Promise<T> {
  if (group.rank > 0) await group.broadcast(null);
  const result = await work();
  if (group.rank === 0) await group.broadcast(null);
  return result;
}

/** What member 0 works out; the others wait for it. */
export async function fromFirst<T>(group: ProcessGroup, work: () => Promise<T>): Promise<T> {
  return group.broadcast(group.rank === 0 ? await work() : (undefined as T));
}
