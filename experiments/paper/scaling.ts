import type { Claim, Experiment } from "../experiment.ts";
import { loraOn, QV } from "../lab/methods.ts";
import { mean, spread } from "../lab/statistics.ts";
import { decided, meanOf } from "./common.ts";

/** §4.1, and beyond the paper: rsLoRA. */
export const scaling: Experiment = {
  name: "scaling",
  section: "§4.1, and beyond",
  title: "α and the learning rate",
  question: "Is α one more thing to tune, or does it act like the learning rate?",
  theirs:
    "With Adam, tuning α is roughly the same as tuning the learning rate, so α is set once and not tuned.",
  version: 1,
  measure: async (lab, { alphas, alphaRates }) => {
    const grid: { alpha: number; rate: number; losses: number[] }[] = [];
    for (const alpha of alphas)
      for (const rate of alphaRates) {
        const base = loraOn(QV, 8);
        const method = { ...base, name: `${base.name}, α=${alpha}`, options: { ...base.options, alpha } };
        const losses: number[] = [];
        for (const seed of lab.seeds) losses.push((await lab.train({ method, rate, seed })).loss);
        grid.push({ alpha, rate, losses });
      }
    const at = (alpha: number, rate: number): number =>
      mean(grid.find((c) => c.alpha === alpha && c.rate === rate)?.losses ?? []);
    const along = Math.abs(at(8, 2e-3) - at(32, 5e-4));
    const across = Math.abs(at(8, 5e-4) - at(32, 2e-3));
    const ranks: (readonly [string, number[]])[] = [];
    for (const kind of ["lora", "rslora"]) {
      const base = loraOn(QV, 64);
      const method = { ...base, name: `${kind} r=64`, options: { ...base.options, method: kind } };
      const losses: number[] = [];
      for (const seed of lab.seeds) losses.push((await lab.train({ method, seed })).loss);
      ranks.push([method.name, losses]);
    }
    const claim: Claim = {
      text: "α acts like a learning rate.",
      test: "Where α · rate is the same (8 × 0.002 and 32 × 0.0005) losses differ by less than a third of what they differ by from the smallest product to the largest.",
      verdict: decided(lab, !Number.isNaN(along), along < across / 3),
      because: `same product: ${along.toFixed(4)}; from the smallest to the largest: ${across.toFixed(4)}`,
    };
    return {
      claims: [claim],
      tables: [
        {
          name: "scaling",
          title: "Test loss over α and learning rate, r = 8",
          columns: ["α", "learning rate", "α · rate", "test loss"],
          rows: grid.map(({ alpha, rate, losses }) => [alpha, rate, alpha * rate, spread(losses)]),
        },
        {
          name: "scaling-rank",
          title: "Scale α/r and α/√r (rsLoRA, Kalajdzievski 2023) at r = 64",
          columns: ["method", "test loss"],
          rows: ranks.map(([name, losses]) => [name, losses.length === 1 ? meanOf(losses) : spread(losses)]),
        },
      ],
      figures: [
        {
          title: "Test loss over α · rate",
          kind: "line",
          x: { name: "α · learning rate", log: true },
          y: { name: "test loss, nats per token" },
          series: alphas.map((alpha) => ({
            name: `α = ${alpha}`,
            points: alphaRates.map((rate): [number, number] => [alpha * rate, at(alpha, rate)]),
          })),
        },
      ],
      notes: [],
    };
  },
};
