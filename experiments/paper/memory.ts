import { methodCosts } from "lowrank";
import type { Experiment } from "../experiment.ts";
import { loraOn, QV } from "../lab/methods.ts";
import { GPT3, gpt3Lora } from "./parameters.ts";

const GIGA = 1e9;
/** Bytes of the paper's §4.2: GPU memory of full fine-tuning and of LoRA, and of one half-precision weight. */
const BYTES = { weight: 2, paperFull: 1.2e12, paperLora: 350e9 } as const;

/** §4.2: memory and storage. */
export const memory: Experiment = {
  name: "memory",
  section: "§4.2",
  title: "What training and storing takes",
  question:
    "Adam keeps two more numbers per trained parameter, and so does a gradient. What does LoRA not have to keep?",
  theirs:
    "GPT-3: 1.2 TB of GPU memory become 350 GB; a checkpoint of 350 GB becomes 35 MB at r = 4 on q and v.",
  version: 1,
  measure: async (lab) => {
    const lora = loraOn(QV, 4);
    const rows = await lab.measured({ what: "memory of FT and LoRA" }, [], 1, async () => {
      const found: (readonly [string, number, number, number, number, number])[] = [];
      for (const [name, options] of [
        ["FT", { method: "full" }],
        [lora.name, lora.options],
      ] as const) {
        const [cost] = await methodCosts(lab.model, { ...options, data: ["x"] }, [options.method as string]);
        if (!cost) continue;
        const { frozenBytes, trainableBytes, gradientBytes, optimizerBytes, checkpointBytes } =
          cost.resources;
        found.push([
          name,
          frozenBytes + trainableBytes,
          gradientBytes,
          optimizerBytes,
          checkpointBytes,
          cost.resources.adapterBytes,
        ]);
      }
      return found;
    });
    const sum = (row: (typeof rows)[number] | undefined): number =>
      row ? row[1] + row[2] + row[3] : Number.NaN;
    const [full, small] = rows;
    const ratio = sum(full) / sum(small);
    const files = (full?.[5] ?? Number.NaN) / (small?.[5] ?? Number.NaN);
    const theirFile = gpt3Lora(4) * BYTES.weight;
    return {
      claims: [
        {
          text: "Without optimizer state and gradients of frozen weights, memory falls to about a third.",
          test: "Weights, gradient and optimizer state of full fine-tuning are 2 to 4.5 times those of LoRA.",
          verdict: Number.isNaN(ratio)
            ? "cannot be told"
            : ratio > 2 && ratio < 4.5
              ? "held"
              : "did not hold",
          because: `${ratio.toFixed(2)} times here (float32 throughout); the paper's is ${(BYTES.paperFull / BYTES.paperLora).toFixed(2)}`,
        },
        {
          text: "The checkpoint of a task shrinks by a factor of about 10,000.",
          test: "By the formula at GPT-3's sizes, r = 4 on q and v, half precision: 30 to 40 MB.",
          verdict: theirFile > 30e6 && theirFile < 40e6 ? "held" : "did not hold",
          because: `${(theirFile / 1e6).toFixed(1)} MB against ${((GPT3.parameters * BYTES.weight) / GIGA).toFixed(0)} GB; here ${files.toFixed(0)} times`,
        },
      ],
      tables: [
        {
          name: "memory",
          title: "Bytes that the model here takes",
          columns: [
            "method",
            "weights",
            "gradient",
            "optimizer state",
            "checkpoint",
            "adapter or model file",
            "100 tasks",
          ],
          rows: rows.map(([name, weights, gradient, optimizer, checkpoint, file]) => [
            name,
            weights,
            gradient,
            optimizer,
            checkpoint,
            file,
            name === "FT" ? 100 * file : weights + 100 * file,
          ]),
        },
      ],
      notes: [
        "Activations are apart: they depend on the batch, and LoRA saves few of them.",
        "100 tasks: full fine-tuning stores 100 models, LoRA one model and 100 adapters.",
      ],
    };
  },
};
