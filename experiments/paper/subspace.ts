import {
  initialFactors,
  openBase,
  randomSimilarity,
  rightDirections,
  spectrumOf,
  subspaceSimilarity,
} from "lowrank";
import type { Claim, Entry, Experiment, Heat } from "../experiment.ts";
import { loraOn, QV } from "../lab/methods.ts";
import { mean } from "../lab/statistics.ts";
import { threeOf, updateOf, withUpdates } from "./adapters.ts";
import { decided } from "./common.ts";

const [LOW, HIGH] = [8, 64];

type Side = "A" | "BA, inputs" | "BA, outputs";

/** φ between two adapters of one module. */
interface Similar {
  readonly module: string;
  /** What of the module: A's directions, or those of the update BA, from its inputs or to its outputs. */
  readonly of: Side;
  readonly dimension: number;
  /** [i][j] */
  readonly phi: readonly (readonly number[])[];
}

/** Everything that Figures 3 and 4 need, for the modules of three layers. */
interface Measured {
  readonly ranks: readonly Similar[];
  readonly seeds: readonly Similar[];
  readonly start: readonly Similar[];
}

/** §7.2, Figures 3 and 4. */
export const subspace: Experiment = {
  name: "subspace",
  section: "§7.2, Figures 3 and 4",
  title: "Do updates of different ranks and seeds learn the same directions?",
  question:
    "If rank 8 and rank 64 find the same leading directions, the other 56 add little. And chance? Random subspaces are a bit alike too.",
  formula:
    "<math><mrow><mi>φ</mi><mo>(</mo><mi>i</mi><mo>,</mo><mi>j</mi><mo>)</mo><mo>=</mo><mfrac><msubsup><mrow><mo>‖</mo><msubsup><mi>U</mi><mi>i</mi><mi>T</mi></msubsup><msub><mi>U</mi><mi>j</mi></msub><mo>‖</mo></mrow><mi>F</mi><mn>2</mn></msubsup><mrow><mi>min</mi><mo>(</mo><mi>i</mi><mo>,</mo><mi>j</mi><mo>)</mo></mrow></mfrac></mrow></math>",
  theirs:
    "The top direction of r = 8 and r = 64 overlaps with φ above 0.5; two seeds at r = 64 share more on q than on v; random matrices share none.",
  version: 2,
  measure: async (lab, size) => {
    const seed = lab.seeds[0] as number;
    const other = seed + 1000;
    const small = await lab.train({ method: loraOn(QV, LOW), seed });
    const large = await lab.train({ method: loraOn(QV, HIGH), seed });
    const again = await lab.train({ method: loraOn(QV, HIGH), seed: other });
    const what = {
      what: "similarity of subspaces",
      seeds: [seed, other],
      examples: size.examples,
      epochs: size.epochs,
    };
    const { ranks, seeds, start } = await lab.measured<Measured>(
      what,
      { ranks: [], seeds: [], start: [] },
      30,
      () =>
        withUpdates(lab, [small.adapter, large.adapter, again.adapter], async (a, b, c) => {
          const base = await openBase(lab.model, { offline: true });
          const paths = threeOf(base.config.layerCount).flatMap((i) => [
            `layers.${i}.attention.q`,
            `layers.${i}.attention.v`,
          ]);
          const found: { ranks: Similar[]; seeds: Similar[]; start: Similar[] } = {
            ranks: [],
            seeds: [],
            start: [],
          };
          const begun = await Promise.all(
            [seed, other].map((s) =>
              initialFactors(base, { ...loraOn(QV, HIGH).options, data: ["x"], seed: s }),
            ),
          );
          for (const module of paths) {
            const [x, y, z] = [updateOf(a, module), updateOf(b, module), updateOf(c, module)];
            const ofA = [x, y, z].map((u) => rightDirections((u.factors as NonNullable<typeof u.factors>).a));
            const spectra = await Promise.all([x, y, z].map(spectrumOf));
            const sides: [Side, typeof ofA][] = [
              ["A", ofA],
              ["BA, inputs", spectra.map(({ v }) => v)],
              ["BA, outputs", spectra.map(({ u }) => u)],
            ];
            for (const [of, all] of sides) {
              const [s, l, o] = all as [(typeof ofA)[0], (typeof ofA)[0], (typeof ofA)[0]];
              found.ranks.push({ module, of, ...subspaceSimilarity(s, l) });
              found.seeds.push({ module, of, ...subspaceSimilarity(l, o) });
            }
            const [p, q] = begun.map((factors) => factors.get(module)?.a);
            if (p && q)
              found.start.push({
                module,
                of: "A",
                ...subspaceSimilarity(rightDirections(p), rightDirections(q)),
              });
          }
          return found;
        }),
    );
    const at = (all: readonly Similar[], of: Side, i: number, j: number): number[] =>
      all.filter((s) => s.of === of).map((s) => s.phi[i - 1]?.[j - 1] ?? Number.NaN);
    const dimensionOf = (all: readonly Similar[], of: Side): number =>
      mean(all.filter((s) => s.of === of).map((s) => s.dimension));
    const dimension = dimensionOf(ranks, "A");
    const top = mean(at(ranks, "BA, inputs", 1, 1));
    const seedsTop = mean(at(seeds, "BA, inputs", 1, 1));
    const chance = randomSimilarity(1, 1, dimension);
    const startTop = mean(at(start, "A", 8, 8));
    const unknown = !Number.isFinite(top);
    const claims: Claim[] = [
      {
        text: "The top direction of r = 8 and of r = 64 is the same: φ above 0.5.",
        test: "φ(1, 1) of the inputs of the update BA, mean over q and v of three layers, is above 0.5.",
        verdict: decided(lab, !unknown, top > 0.5),
        because: `φ(1, 1) = ${top.toFixed(3)}; chance ${chance.toFixed(4)}`,
      },
      {
        text: "Two seeds learn directions in common.",
        test: "φ(1, 1) of the inputs of BA between two seeds at r = 64 is above ten times chance.",
        verdict: decided(lab, !unknown, seedsTop > 10 * chance),
        because: `φ(1, 1) = ${seedsTop.toFixed(3)}; chance ${chance.toFixed(4)}`,
      },
    ];
    const heats = ranks
      .filter(({ of }) => of === "BA, inputs")
      .map(
        ({ module, phi }): Heat => ({
          title: `φ of r = ${LOW} and r = ${HIGH}, ${module}`,
          rows: `directions of r = ${LOW}`,
          columns: `directions of r = ${HIGH}`,
          values: phi.map((row) => row.slice(0, 16)),
        }),
      );
    const row = (name: string, all: readonly Similar[], of: Side, i: number): Entry[] => [
      name,
      of,
      i,
      i,
      mean(at(all, of, i, i)),
      randomSimilarity(i, i, dimensionOf(all, of)),
    ];
    const sides: readonly Side[] = ["A", "BA, inputs", "BA, outputs"];
    const both = [1, 8];
    return {
      claims,
      tables: [
        {
          name: "subspace",
          title: "φ, mean over q and v of three layers, beside chance",
          columns: ["between", "directions of", "i", "j", "φ", "chance: max(i, j)/d"],
          rows: [
            ...sides.flatMap((of) => both.map((i) => row(`r = ${LOW} and ${HIGH}`, ranks, of, i))),
            ...sides.flatMap((of) => both.map((i) => row(`two seeds, r = ${HIGH}`, seeds, of, i))),
            row(`two seeds at step 0, r = ${HIGH}`, start, "A", 8),
          ],
        },
      ],
      heats,
      notes: [
        `At step 0, A is noise and B is 0: φ(8, 8) of A between two seeds is ${startTop.toFixed(4)} there, chance alone.`,
        "The paper compares A's directions; after a short training A is still mostly the noise that it began as. The update BA is what acts, so it is compared as well.",
      ],
    };
  },
};
