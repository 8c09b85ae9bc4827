import type { ModuleSimilarity } from "./compare.ts";
import type { Comparison, Explanation } from "./explain.ts";
import { digits, percent } from "./numbers.ts";
import { randomSimilarity, type SubspaceSimilarity } from "./subspace.ts";
import { type GroupSummary, mean, present } from "./summary.ts";

/** What a number means, in a line. */
export interface Finding {
  readonly topic: string;
  readonly text: string;
}

/** The layers that changed most, the first most; those outside of the layers by name. */
export function mostChanged(groups: readonly GroupSummary[], count: number): GroupSummary[] {
  return groups.toSorted((a, b) => b.share - a.share).slice(0, count);
}

/** ‖ΔW‖/‖W‖; null without the base. */
export function relativeChange({
  deltaNorm,
  weightNorm,
}: {
  readonly deltaNorm: number;
  readonly weightNorm: number | null;
}): number | null {
  return weightNorm === null || weightNorm === 0 ? null : deltaNorm / weightNorm;
}

/** What an explanation says, each number with its control beside it. */
export function findings(explanation: Explanation): Finding[] {
  const { total, comparison } = explanation;
  if (total.modules === 0)
    return [{ topic: "Change", text: "no matrix changes: there is no ΔW to take apart" }];
  if (total.deltaNorm === 0)
    return [{ topic: "Change", text: "ΔW is 0 everywhere, as at the start of training" }];
  return [
    changeFinding(explanation),
    ...rankFindings(explanation),
    ...amplificationFinding(explanation),
    ...(comparison ? comparisonFindings(comparison) : []),
  ];
}

function changeFinding({ total, layers }: Explanation): Finding {
  const relative = relativeChange(total);
  const size =
    relative === null ? `‖ΔW‖ is ${digits(total.deltaNorm)}` : `ΔW is ${percent(relative)} of W by norm`;
  const [first] = mostChanged(layers, 1);
  const most =
    first && layers.length > 1
      ? `; ${first.name} changed most, ${percent(first.share)} of ‖ΔW‖² (${percent(first.evenShare)} if all modules changed alike)`
      : "";
  return { topic: "Change", text: `${size}${most}.` };
}

function rankFindings({ total, ranks }: Explanation): Finding[] {
  const used =
    total.meanEffectiveRank === null || total.meanRandomEffectiveRank === null
      ? []
      : [
          {
            topic: "Effective rank",
            text: `a module's ΔW is worth ${digits(total.meanEffectiveRank)} equal directions on average; random factors of the same rank would be worth ${digits(total.meanRandomEffectiveRank)}.`,
          },
        ];
  if (ranks === null) return used;
  const chosen = ranks.choices[ranks.suggested - 1];
  const text =
    ranks.suggested < ranks.rank
      ? `rank ${ranks.suggested} of ${ranks.rank} keeps ${percent(chosen?.kept ?? 1)} of ‖ΔW‖² over all modules, and ${percent(chosen?.worstKept ?? 1)} of the one that loses most; random factors would need rank ${ranks.random} for 99%. ‖ΔW‖² is not the task: evaluate what you shrink.`
      : `all ${ranks.rank} ranks are needed to keep 99% of ‖ΔW‖² over all modules (random factors: ${ranks.random}).`;
  return [...used, { topic: "Unused ranks", text }];
}

/** Within this factor of chance a projection says nothing. */
const LIKE_CHANCE = 1.25;

function amplificationFinding({ modules, total }: Explanation): Finding[] {
  const { medianFactor: factor, medianRandomFactor: control } = total;
  if (factor === null || control === null) return [];
  const amplified = present(modules.map((m) => m.amplification));
  const ratio = mean(amplified.map((a) => Math.log(a.fromUpdate / a.fromRandom))) ?? 0;
  const times = Math.exp(ratio);
  const verdict =
    times > LIKE_CHANCE
      ? "ΔW lies in directions on which W acts already"
      : times < 1 / LIKE_CHANCE
        ? "ΔW lies in directions on which W hardly acts"
        : "ΔW's directions have about as much to do with W as chance";
  const text =
    `factor ${digits(factor)} in the median, ${digits(control)} for random directions. W acts ${digits(times)} times as strongly on ` +
    `ΔW's directions as on random ones (geometric mean): ${verdict}.`;
  return [{ topic: "Amplification", text }];
}

/** φ(k, k) with k as large as both have; null where they have none. */
export function phiAt(
  similarity: SubspaceSimilarity | null,
  k: number,
): { readonly phi: number; readonly random: number } | null {
  const phi = similarity?.phi[k - 1]?.[k - 1];
  if (similarity === null || phi === undefined) return null;
  return { phi, random: randomSimilarity(k, k, similarity.dimension) };
}

/** The mean of φ(k, k) over modules, and of its control. */
export function meanPhi(
  similarities: readonly (SubspaceSimilarity | null)[],
  k: number,
): { readonly phi: number; readonly random: number } | null {
  const found = present(similarities.map((s) => phiAt(s, k)));
  const [phi, random] = [mean(found.map((f) => f.phi)), mean(found.map((f) => f.random))];
  return phi === null || random === null ? null : { phi, random };
}

/** The largest k at which every module has φ(k, k). */
export function commonCount(modules: readonly ModuleSimilarity[]): number {
  const counts = present(modules.map((m) => m.right)).map((s) =>
    Math.min(s.phi.length, s.phi[0]?.length ?? 0),
  );
  return counts.length === 0 ? 0 : Math.min(...counts);
}

function comparisonFindings({ modules, atStart }: Comparison): Finding[] {
  const cosine = mean(present(modules.map((m) => m.cosine)));
  const control = mean(modules.map((m) => m.randomCosine));
  const k = commonCount(modules);
  const at = (similarities: readonly (SubspaceSimilarity | null)[], count: number): string => {
    const found = meanPhi(similarities, count);
    return found === null ? "–" : `${digits(found.phi)} (random ${digits(found.random)})`;
  };
  const sides = (count: number): string =>
    `φ(${count},${count}) of inputs ${at(
      modules.map((m) => m.right),
      count,
    )}, of outputs ${at(
      modules.map((m) => m.left),
      count,
    )}`;
  const start = meanPhi(Object.values(atStart), k);
  const noise =
    start === null
      ? ""
      : `; of A alone ${at(
          modules.map((m) => m.a),
          k,
        )}, at step 0 ${digits(start.phi)}`;
  return [
    {
      topic: "Same update?",
      text: `the cosine of the two ΔW is ${digits(cosine)} on average; of unrelated ones it would be 0 ± ${digits(control)}.`,
    },
    ...(k > 0 ? [{ topic: "Same directions?", text: `${sides(1)}; ${sides(k)}${noise}.` }] : []),
  ];
}
