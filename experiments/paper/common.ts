import type { Claim, Entry, Verdict } from "../experiment.ts";
import type { Lab, Trained, TrainRequest } from "../lab/lab.ts";
import type { PaperMethod } from "../lab/methods.ts";
import type { Size } from "../lab/sizes.ts";
import { compare, mean, spread } from "../lab/statistics.ts";

/** A method's runs with every seed. */
export interface Runs {
  readonly method: PaperMethod;
  readonly rate: number;
  readonly runs: readonly Trained[];
}

/** The learning rate whose validation loss is lowest, of the same factors on every method's usual rate; with one factor none is
 *  chosen. It is searched once for a method, on the first task with all examples: variants and other tasks take it. Test rows are
 *  not looked at. */
export async function chooseRate(lab: Lab, size: Size, method: PaperMethod): Promise<number> {
  const searched = method.ratedBy ?? method;
  const rates = size.rateFactors.map((factor) => Number((factor * searched.rate).toPrecision(3)));
  if (rates.length === 1) return rates[0] as number;
  const tried: { rate: number; loss: number }[] = [];
  const seed = lab.seeds[0] as number;
  for (const rate of rates) {
    const { loss } = await lab.train({ method: searched, rate, seed, on: "validation" });
    tried.push({ rate, loss: Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY });
  }
  return tried.reduce((best, one) => (one.loss < best.loss ? one : best)).rate;
}

/** Trains a method with every seed at the rate chosen for it. */
export async function runsOf(
  lab: Lab,
  size: Size,
  method: PaperMethod,
  request: Pick<TrainRequest, "task" | "examples" | "epochs" | "answers"> = {},
): Promise<Runs> {
  const rate = await chooseRate(lab, size, method);
  const runs: Trained[] = [];
  for (const seed of lab.seeds) runs.push(await lab.train({ ...request, method, rate, seed }));
  return { method, rate, runs };
}

/** What a learning rate was. */
export function rateNote(size: Size): string {
  return size.rateFactors.length === 1
    ? "Learning rates are each method's usual one: none was searched for."
    : `Learning rates: of ${size.rateFactors.map((f) => `${f} ×`).join(", ")} each method's usual one, that with the lowest loss on validation rows, searched once for each method (first task, first seed).`;
}

export const losses = ({ runs }: Runs): number[] => runs.map((r) => r.loss);
export const exactMatches = ({ runs }: Runs): number[] =>
  runs.map((r) => r.answers?.exactMatch ?? Number.NaN);

/** Columns and entries that every table of runs has. */
export const RUN_COLUMNS: readonly string[] = ["method", "trained parameters", "learning rate", "test loss"];

/** A row of a table of runs. */
export function runRow({ method, rate, runs }: Runs): Entry[] {
  return [method.name, runs[0]?.parameters ?? null, rate, spread(runs.map((r) => r.loss))];
}

/** A claim that one group's losses are lower than another's. "Cannot be told" with one seed. */
export function lowerLoss(
  text: string,
  [nameA, a]: readonly [string, readonly number[]],
  [nameB, b]: readonly [string, readonly number[]],
): Claim {
  const sign = compare(a, b);
  const verdict: Verdict =
    Number.isNaN(sign) || sign === 0 ? "cannot be told" : sign < 0 ? "held" : "did not hold";
  return {
    text,
    test: `The test loss of ${nameA} is below that of ${nameB} by more than the 95% interval of their difference over seeds (Welch).`,
    verdict,
    because: `${nameA} ${spread(a)}, ${nameB} ${spread(b)}${Number.isNaN(sign) ? "; one seed tells no noise" : ""}`,
  };
}

/** A claim that one group's losses are not above another's by more than a margin. */
export function noWorse(
  text: string,
  [nameA, a]: readonly [string, readonly number[]],
  [nameB, b]: readonly [string, readonly number[]],
  margin: number,
): Claim {
  const shifted = b.map((x) => x + margin);
  const sign = compare(a, shifted);
  const verdict: Verdict =
    Number.isNaN(sign) || sign === 0 ? "cannot be told" : sign < 0 ? "held" : "did not hold";
  return {
    text,
    test: `The test loss of ${nameA} is at most ${margin} nats above that of ${nameB}, by more than the 95% interval of their difference over seeds (Welch).`,
    verdict,
    because: `${nameA} ${spread(a)}, ${nameB} ${spread(b)}${Number.isNaN(sign) ? "; one seed tells no noise" : ""}`,
  };
}

/** What a measurement says, where training decides it: one seed and few steps tell nothing. */
export function decided(lab: Lab, isKnown: boolean, holds: boolean): Verdict {
  if (!isKnown || lab.seeds.length === 1) return "cannot be told";
  return holds ? "held" : "did not hold";
}

/** Mean that is null where nothing was measured. */
export function meanOf(values: readonly number[]): number | null {
  const m = mean(values);
  return Number.isFinite(m) ? m : null;
}
