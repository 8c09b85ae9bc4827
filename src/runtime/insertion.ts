import { sizeOf } from "../tensor/tensor.ts";

/** @throws Error where tensors [R, T, h·d] from columns `at` on do not fit into kept ones [R, …h, C, d] */
export function checkRoom(kept: readonly number[], added: readonly number[], at: readonly number[]): void {
  const room = kept.at(-2) as number;
  const last = Math.max(...at) + (added[1] as number);
  if (last > room) throw new Error(`nothing to insert into: ${room} columns are there, ${last} are needed`);
}

/** Rows of the flat form [R·h·C, d] of a kept tensor [R, …h, C, d] that the rows of an added one's flat form [R·T·h, d] take, row r
 *  from column at[r] on; `first`: the kept row of the first added one. */
export function rowTargets(
  kept: readonly number[],
  added: readonly number[],
  at: readonly number[],
  first = 0,
): number[] {
  const room = kept.at(-2) as number;
  const heads = sizeOf(kept.slice(1, -2));
  const [rows, length] = added as [number, number];
  const targets: number[] = [];
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < length; i++)
      for (let h = 0; h < heads; h++) targets.push(((first + r) * heads + h) * room + (at[r] as number) + i);
  return targets;
}
