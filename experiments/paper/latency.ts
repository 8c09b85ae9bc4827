import { type LoadedModel, loadModel } from "lowrank";
import type { Experiment } from "../experiment.ts";
import { loraOn, PAPER_METHODS, type PaperMethod, QV } from "../lab/methods.ts";
import type { Size } from "../lab/sizes.ts";
import { median } from "../lab/statistics.ts";

/** Batch and length of the paper's Table 1, lengths an eighth of them. */
const SHAPES: readonly (readonly [batch: number, length: number])[] = [
  [32, 64],
  [16, 32],
  [1, 16],
];

interface Timed {
  readonly variant: string;
  readonly shape: string;
  readonly ms: readonly number[];
}

function sequences(batch: number, length: number, vocabulary: number): number[][] {
  return Array.from({ length: batch }, (_, r) =>
    Array.from({ length }, (_, i) => (7919 * (r * length + i) + 13) % vocabulary),
  );
}

/** Times every variant on every shape in turn, so that a machine that slows down slows all of them. */
async function timeAll(models: ReadonlyMap<string, LoadedModel>, { repetitions }: Size): Promise<Timed[]> {
  const found: Timed[] = [];
  for (const [batch, length] of SHAPES) {
    const ms = new Map([...models.keys()].map((name) => [name, [] as number[]]));
    for (let round = -1; round < repetitions; round++)
      for (const [name, model] of models) {
        const batchOf = sequences(batch, length, model.base.config.vocabSize);
        const started = performance.now();
        await model.nextLogits(batchOf);
        if (round >= 0) ms.get(name)?.push(performance.now() - started);
      }
    for (const [variant, times] of ms) found.push({ variant, shape: `${batch} × ${length}`, ms: times });
  }
  return found;
}

/** Table 1. */
export const latency: Experiment = {
  name: "latency",
  section: "§3, Table 1",
  title: "What inference costs",
  question:
    "Bottleneck adapters add layers that must be computed one after the other. LoRA can be merged away. What do they cost?",
  theirs:
    "GPT-2 medium, batch × length 32 × 512, 16 × 256, 1 × 128: Adapter-L +2.2, +5.0, +20.7%; Adapter-H +3.0, +8.3, +30.3%; merged LoRA ±0.",
  version: 1,
  measure: async (lab, size) => {
    const bottlenecks = PAPER_METHODS.filter(({ name }) => name === "Adapter-H" || name === "Adapter-L");
    const adapters: [PaperMethod, string][] = [];
    for (const method of [loraOn(QV, 8), ...bottlenecks])
      adapters.push([method, (await lab.train({ method, seed: lab.seeds[0] as number })).adapter]);
    const timed = await lab.measured<Timed[]>(
      { what: "latency", repetitions: size.repetitions },
      [],
      60,
      async () => {
        const models = new Map<string, LoadedModel>();
        try {
          const open = async (name: string, adapter?: string): Promise<LoadedModel> => {
            const model = await loadModel({
              model: lab.model,
              contextLength: 512,
              ...(adapter === undefined ? {} : { adapter }),
            });
            models.set(name, model);
            return model;
          };
          await open("base");
          await open("base again");
          for (const [method, adapter] of adapters) await open(method.name, adapter);
          const [lora, adapter] = adapters[0] as [PaperMethod, string];
          await (await open(`${lora.name}, merged`, adapter)).merge();
          return await timeAll(models, size);
        } finally {
          for (const model of models.values()) await model.close();
        }
      },
    );
    const ratio = (variant: string, shape: string): number => {
      const of = (name: string): readonly number[] =>
        timed.find((t) => t.variant === name && t.shape === shape)?.ms ?? [];
      const base = of("base");
      return median(of(variant).map((x, i) => x / (base[i] as number)));
    };
    const one = `${SHAPES.at(-1)?.[0]} × ${SHAPES.at(-1)?.[1]}`;
    const [merged, control] = [ratio(`${loraOn(QV, 8).name}, merged`, one), ratio("base again", one)];
    const bottleneck = ratio("Adapter-H", one);
    const noise = Math.max(0.05, 2 * Math.abs(control - 1));
    return {
      claims: [
        {
          text: "Merged LoRA costs nothing at inference.",
          test: "Its median ratio to the base (batch 1) is within 5%, or within twice what the base differs by from itself.",
          verdict: Number.isNaN(merged)
            ? "cannot be told"
            : Math.abs(merged - 1) <= noise
              ? "held"
              : "did not hold",
          because: `merged ${merged.toFixed(3)}, the base against itself ${control.toFixed(3)}`,
        },
        {
          text: "Bottleneck adapters cost noticeable time at batch 1.",
          test: "The median ratio of Adapter-H to the base at batch 1 is above 1 by more than that.",
          verdict: Number.isNaN(bottleneck)
            ? "cannot be told"
            : bottleneck - 1 > noise
              ? "held"
              : "did not hold",
          because: `Adapter-H ${bottleneck.toFixed(3)}`,
        },
      ],
      tables: [
        {
          name: "latency",
          title: "Milliseconds of a forward pass, and the ratio to the base",
          columns: ["variant", "batch × length", "ms (median)", "ratio to base (median)"],
          rows: timed.map(({ variant, shape, ms }) => [variant, shape, median(ms), ratio(variant, shape)]),
        },
      ],
      notes: [
        "Lengths are an eighth of the paper's. “base again” is a second copy of the base: what it differs by is noise.",
        "Times depend on the machine and on what else runs on it: ratios are taken round by round.",
      ],
    };
  },
};
