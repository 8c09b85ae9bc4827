import { TrainingError } from "../errors.ts";
import type { ProcessGroup } from "../parallel/group.ts";
import type { TrainEngine } from "./step.ts";

/** Parameters of members that differ by more, relative to the largest, are not the same up to rounding. */
const MOST_APART = 1e-4;

/** Checks that all members have the same parameters, bit by bit. Sums are the same everywhere; the update that follows may round differently
 *  on another kind of processor: then all go on with those of member 0. Returns what to say of that.
 *  @throws TrainingError where they are further apart than rounding explains */
export async function agreeOnState(
  engine: Pick<TrainEngine, "theta" | "state" | "setState">,
  group: ProcessGroup,
): Promise<string | null> {
  if (group.size === 1) return null;
  const theta = await engine.theta();
  if ((await group.alike(theta)).every(Boolean)) return null;
  const apart = await group.gather(distance(theta, await group.broadcast(theta)));
  const most = Math.max(...apart);
  const which = apart.flatMap((d, rank) => (d > 0 ? [rank] : [])).join(", ");
  if (!(most <= MOST_APART))
    throw new TrainingError(
      `parameters of rank ${which} differ from those of rank 0 by ${most.toPrecision(2)} of the largest: they have not been trained alike`,
    );
  await engine.setState(await group.broadcast(group.rank === 0 ? await engine.state() : { theta }));
  return `parameters of rank ${which} were rounded differently (by ${most.toPrecision(1)} of the largest at most): those of rank 0 are taken`;
}

/** Largest difference over the largest of `to`; NaN where a number is not finite. */
function distance(from: Float32Array, to: Float32Array): number {
  let [apart, largest] = [0, 0];
  for (const [i, x] of to.entries()) {
    largest = Math.max(largest, Math.abs(x));
    apart = Math.max(apart, Math.abs((from[i] as number) - x));
  }
  return apart === 0 ? 0 : apart / largest;
}
