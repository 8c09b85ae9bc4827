import { amplification as amplify, moduleWeight, openBase, spectrumOf } from "lowrank";
import type { Entry, Experiment } from "../experiment.ts";
import { loraOn, QV } from "../lab/methods.ts";
import { median } from "../lab/statistics.ts";
import { withUpdates } from "./adapters.ts";
import { decided } from "./common.ts";

const RANKS = [4, 64];

/** One module's numbers, as Table 7 has them. */
interface Row {
  readonly rank: number;
  readonly module: string;
  readonly layer: number;
  readonly fromUpdate: number;
  readonly fromWeight: number;
  readonly fromRandom: number;
  readonly updateNorm: number;
  readonly weightNorm: number;
  readonly factor: number;
  readonly randomFactor: number;
}

/** §7.3, Table 7. */
export const amplification: Experiment = {
  name: "amplification",
  section: "§7.3, Table 7",
  title: "What an update does that its weight does not",
  question:
    "Does ΔW repeat what W does already, or does it strengthen directions that W has but does not stress?",
  formula:
    "<math><mrow><mtext>factor</mtext><mo>=</mo><mfrac><msub><mrow><mo>‖</mo><mi>Δ</mi><mi>W</mi><mo>‖</mo></mrow><mi>F</mi></msub><msub><mrow><mo>‖</mo><msup><mi>U</mi><mi>T</mi></msup><mi>W</mi><msup><mi>V</mi><mi>T</mi></msup><mo>‖</mo></mrow><mi>F</mi></msub></mfrac></mrow></math>",
  theirs:
    "Layer 48 of GPT-3, W_q: r = 4: ‖UᵀWVᵀ‖ 0.32 from ΔW, 21.67 from W, 0.02 random; ‖ΔW‖ 6.91; factor 21.5. r = 64: 1.90, 37.71, 0.33; 3.57; factor 1.9.",
  version: 1,
  measure: async (lab, size) => {
    const seed = lab.seeds[0] as number;
    const adapters: (() => Promise<string>)[] = [];
    for (const rank of RANKS) adapters.push((await lab.train({ method: loraOn(QV, rank), seed })).adapter);
    const { examples, epochs, layerStride } = size;
    const what = { what: "amplification", ranks: RANKS, seed, examples, epochs, layerStride };
    const rows = await lab.measured<Row[]>(what, [], 40, () =>
      withUpdates(lab, adapters, async (...updates) => {
        const base = await openBase(lab.model, { offline: true });
        const found: Row[] = [];
        for (const [i, { modules }] of updates.entries())
          for (const update of modules.filter(({ path }) => layerOf(path) % layerStride === 0)) {
            const weight = await moduleWeight(base, update.path);
            const { u, v, frobenius } = await spectrumOf(update);
            const a = amplify(weight, { u, v, frobenius }, true);
            found.push({
              rank: RANKS[i] as number,
              module: update.path,
              layer: layerOf(update.path),
              fromUpdate: a.fromUpdate,
              fromWeight: a.fromWeight ?? Number.NaN,
              fromRandom: a.fromRandom,
              updateNorm: frobenius,
              weightNorm: norm(weight.data),
              factor: a.factor ?? Number.NaN,
              randomFactor: a.randomFactor ?? Number.NaN,
            });
          }
        return found;
      }),
    );
    const of = (rank: number): Row[] => rows.filter((r) => r.rank === rank);
    const correlated = median(of(4).map((r) => r.fromUpdate / r.fromRandom));
    const notTop = median(of(4).map((r) => r.fromUpdate / r.fromWeight));
    const [low, high] = RANKS.map((rank) => median(of(rank).map((r) => r.factor)));
    const unknown = !Number.isFinite(correlated);
    return {
      claims: [
        {
          text: "ΔW has more to do with W than a random matrix has.",
          test: "‖UᵀWVᵀ‖ from ΔW at r = 4 is more than twice that from random directions, median over modules.",
          verdict: decided(lab, !unknown, correlated > 2),
          because: `${correlated.toFixed(2)} times`,
        },
        {
          text: "ΔW does not repeat the top directions of W.",
          test: "‖UᵀWVᵀ‖ from ΔW at r = 4 is below a third of that from W itself, median over modules.",
          verdict: decided(lab, !unknown, notTop < 1 / 3),
          because: `${(100 * notTop).toFixed(1)}% of it`,
        },
        {
          text: "The amplification factor is larger for r = 4 than for r = 64.",
          test: "The median factor over modules at r = 4 is above that at r = 64.",
          verdict: decided(lab, !unknown, (low as number) > (high as number)),
          because: `r = 4: ${low?.toFixed(3)}, r = 64: ${high?.toFixed(3)}`,
        },
      ],
      tables: [
        {
          name: "amplification",
          title: "Every module",
          columns: [
            "rank",
            "module",
            "from ΔW",
            "from W",
            "random",
            "‖ΔW‖",
            "‖W‖",
            "factor",
            "factor of random directions",
          ],
          rows: rows.map((r): Entry[] => [
            r.rank,
            r.module,
            r.fromUpdate,
            r.fromWeight,
            r.fromRandom,
            r.updateNorm,
            r.weightNorm,
            r.factor,
            r.randomFactor,
          ]),
        },
      ],
      figures: RANKS.map((rank) => ({
        title: `‖UᵀWVᵀ‖ by layer, W_q, r = ${rank}`,
        kind: "line" as const,
        x: { name: "layer" },
        y: { name: "Frobenius norm", log: true },
        series: (["fromUpdate", "fromWeight", "fromRandom"] as const).map((key) => ({
          name: { fromUpdate: "from ΔW", fromWeight: "from W", fromRandom: "random" }[key],
          points: of(rank)
            .filter(({ module }) => module.endsWith(".q"))
            .map((r): [number, number] => [r.layer, r[key]]),
        })),
      })),
      notes: [
        "The factor grows with the learning rate and the length of training, as ‖ΔW‖ does: it is to be read beside that of random directions, not beside the paper's.",
      ],
    };
  },
};

/** `layers.3.attention.q` → 3 */
function layerOf(path: string): number {
  return Number(path.split(".")[1]);
}

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}
