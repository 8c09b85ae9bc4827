import { methodCosts } from "lowrank";
import type { Claim, Experiment } from "../experiment.ts";
import { loraOn, PAPER_METHODS, QV } from "../lab/methods.ts";

/** GPT-3 175B (Brown et al. 2020). */
export const GPT3 = { parameters: 175e9, layers: 96, width: 12_288 } as const;

/** |Θ| of LoRA on q and v of every layer of GPT-3: L · 2 matrices · r · (d_in + d_out). */
export function gpt3Lora(rank: number): number {
  return GPT3.layers * 2 * rank * 2 * GPT3.width;
}

/** §2 and §4.1: |Θ| against |Φ|. */
export const parameters: Experiment = {
  name: "parameters",
  section: "§2, §4.1",
  title: "How many numbers are trained",
  question:
    "Full fine-tuning stores a whole model per task. How much smaller is what each method trains and stores?",
  formula:
    "<math><mrow><mo>|</mo><mi>Θ</mi><mo>|</mo><mo>=</mo><munder><mo>∑</mo><mi>W</mi></munder><mi>r</mi><mo>(</mo><msub><mi>d</mi><mtext>in</mtext></msub><mo>+</mo><msub><mi>d</mi><mtext>out</mtext></msub><mo>)</mo></mrow></math>",
  theirs: "Down to 0.01% of GPT-3's 175 billion parameters; up to 10,000 times fewer than full fine-tuning.",
  version: 1,
  measure: async (lab) => {
    const rows = await lab.measured({ what: "costs of every method" }, [], 1, async () => {
      const found: [string, number, number, number][] = [];
      for (const { name, options } of PAPER_METHODS) {
        const [cost] = await methodCosts(lab.model, { ...options, data: ["x"] }, [options.method as string]);
        const full = cost?.resources;
        if (cost && full)
          found.push([
            name,
            cost.trainableParameters,
            full.adapterBytes,
            full.frozenBytes + full.trainableBytes,
          ]);
      }
      return found;
    });
    const whole = rows.find(([name]) => name === "FT")?.[1] ?? Number.NaN;
    const lora = rows.find(([name]) => name === loraOn(QV, 8).name);
    const counted = lora?.[1] ?? Number.NaN;
    const theirs = [1, 2, 4, 8].map(
      (r) =>
        ["GPT-3 175B", `LoRA r=${r} on q, v`, gpt3Lora(r), (100 * gpt3Lora(r)) / GPT3.parameters] as const,
    );
    const bytes = lora?.[2] ?? Number.NaN;
    const claims: Claim[] = [
      {
        text: "LoRA's adapter is as large as the formula says.",
        test: "4 bytes times |Θ| by the formula, and the file's header, are the bytes that the adapter takes: within 5%.",
        verdict: Number.isNaN(bytes)
          ? "cannot be told"
          : Math.abs(bytes / (4 * counted) - 1) < 0.05
            ? "held"
            : "did not hold",
        because: `${counted} parameters, ${bytes} bytes`,
      },
      {
        text: "|Θ| can be 0.01% of |Φ|.",
        test: "At GPT-3's sizes, rank 1 or 2 on q and v is below 0.015% of 175 billion, by the formula.",
        verdict: gpt3Lora(2) / GPT3.parameters < 1.5e-4 ? "held" : "did not hold",
        because: `rank 1: ${((100 * gpt3Lora(1)) / GPT3.parameters).toFixed(4)}%, rank 2: ${((100 * gpt3Lora(2)) / GPT3.parameters).toFixed(4)}%`,
      },
    ];
    return {
      claims,
      tables: [
        {
          name: "parameters",
          title: "Trained parameters of the model here",
          columns: ["method", "trained parameters", "share of the model, %", "adapter, bytes"],
          rows: rows.map(([name, count, size]) => [name, count, (100 * count) / whole, size]),
        },
        {
          name: "parameters-gpt3",
          title: "The same formula at GPT-3's sizes",
          columns: ["model", "method", "trained parameters", "share of the model, %"],
          rows: theirs.map((row) => [...row]),
        },
      ],
      notes: ["Counts are of the tensors that a method's file would hold; nothing is trained for them."],
    };
  },
};
