import { deserialize, serialize } from "node:v8";
import type { ProcessGroup } from "../../src/parallel/group.ts";

/** Members of one process, which meet as those of MPI do: every operation waits for all. */
export function localGroup(size: number): ProcessGroup[] {
  let arrived: unknown[] = [];
  let release: ((values: readonly unknown[]) => void)[] = [];
  const meet = (rank: number, value: unknown): Promise<readonly unknown[]> =>
    new Promise((resolve) => {
      arrived[rank] = value;
      release.push(resolve);
      if (release.length < size) return;
      const [values, waiting] = [arrived, release];
      [arrived, release] = [[], []];
      for (const go of waiting) go(values);
    });
  const copy = <T>(value: unknown): T => deserialize(serialize(value)) as T;
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    localSize: size,
    sum: async (values) => {
      const all = (await meet(rank, values.slice())) as (typeof values)[];
      values.forEach((_, i) => {
        values[i] = all.reduce((sum, own) => sum + (own[i] as number), 0);
      });
    },
    gather: async <T>(value: T) => (await meet(rank, value)).map((one) => copy<T>(one)),
    broadcast: async <T>(value: T) => copy<T>((await meet(rank, value))[0]),
    alike: async (values) => {
      const all = (await meet(rank, Buffer.from(values.slice().buffer))) as Buffer[];
      return all.map((bytes) => bytes.equals(all[0] as Buffer));
    },
    abort: () => {
      throw new Error("aborted");
    },
    close: () => undefined,
  }));
}
