/** Time of sums over the processes of a group, by size: run by mpirun. Prints [{ bytes, ms }] from process 0: medians of the slowest member.
 *    mpirun -n 2 node bench/sides/all-reduce.mjs */
import { openProcessGroup } from "../lib/lowrank.mjs";
import { median } from "../lib/statistics.mjs";

const SIZES = [1, 2 ** 10, 2 ** 14, 2 ** 18, 2 ** 19, 2 ** 21, 2 ** 23];
const REPEATS = 15;

const group = await openProcessGroup();
const rows = [];
for (const size of SIZES) {
  const values = new Float32Array(size).fill(1e-3);
  const times = [];
  for (let i = 0; i < REPEATS; i++) {
    await group.gather(null); // all begin together
    const started = performance.now();
    await group.sum(values);
    times.push(performance.now() - started);
  }
  const all = await group.gather(median(times));
  rows.push({ bytes: 4 * size, ms: Math.max(...all) });
}
if (group.rank === 0) console.log(JSON.stringify(rows));
group.close();
