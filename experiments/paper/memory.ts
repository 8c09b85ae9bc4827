import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { methodCosts, type TrainOptions } from "lowrank";
import type { Experiment } from "../experiment.ts";
import type { Lab } from "../lab/lab.ts";
import { loraOn, QV } from "../lab/methods.ts";
import { GPT3, gpt3Lora } from "./parameters.ts";

const GIGA = 1e9;
/** Bytes of the paper's §4.2: GPU memory of full fine-tuning and of LoRA, and of one half-precision weight. */
const BYTES = { weight: 2, paperFull: 1.2e12, paperLora: 350e9 } as const;

/** What is trained to see what it takes: a few steps at the size of the other experiments. */
const STEPS = 3;

/** Bytes that a training process has at its peak, as planned and as measured. */
async function peakBytes(options: TrainOptions): Promise<Pick<Bytes, "predicted" | "measured">> {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-paper-"));
  try {
    const run = { ...options, output: join(folder, "run"), maxSteps: STEPS, samples: 0, offline: true };
    const script = fileURLToPath(new URL("../lab/peak.js", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(run)]);
    return JSON.parse(stdout) as Pick<Bytes, "predicted" | "measured">;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A method's bytes, by the plan and as a process had them. */
interface Bytes {
  readonly name: string;
  readonly weights: number;
  readonly gradient: number;
  readonly optimizer: number;
  readonly checkpoint: number;
  readonly file: number;
  readonly predicted: number;
  readonly measured: number;
}

async function bytesOf({ model, filesOf }: Lab, name: string, options: TrainOptions): Promise<Bytes> {
  const whole = { ...options, model, batchSize: 8, data: [filesOf().train] };
  const [cost] = await methodCosts(model, whole, [options.method as string]);
  if (!cost) throw new Error(`${name} has no costs`);
  const { resources: r } = cost;
  return {
    name,
    weights: r.frozenBytes + r.trainableBytes,
    gradient: r.gradientBytes,
    optimizer: r.optimizerBytes,
    checkpoint: r.checkpointBytes,
    file: r.adapterBytes,
    ...(await peakBytes(whole)),
  };
}

/** §4.2: memory and storage. */
export const memory: Experiment = {
  name: "memory",
  section: "§4.2",
  title: "What training and storing takes",
  question:
    "Adam keeps two more numbers per trained parameter, and so does a gradient. What does LoRA not have to keep?",
  theirs:
    "GPT-3: 1.2 TB of GPU memory become 350 GB; a checkpoint of 350 GB becomes 35 MB at r = 4 on q and v.",
  version: 2,
  measure: async (lab) => {
    const lora = loraOn(QV, 4);
    const rows = await lab.measured<readonly Bytes[]>(
      { what: "memory of FT and LoRA", steps: STEPS, data: lab.filesOf().digest },
      [],
      60,
      async () => [await bytesOf(lab, "FT", { method: "full" }), await bytesOf(lab, lora.name, lora.options)],
    );
    const sum = (row: Bytes | undefined): number =>
      row ? row.weights + row.gradient + row.optimizer : Number.NaN;
    const [full, small] = rows;
    const ratio = sum(full) / sum(small);
    const files = (full?.file ?? Number.NaN) / (small?.file ?? Number.NaN);
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
            "at the peak, predicted",
            "at the peak, measured",
          ],
          rows: rows.map(({ name, weights, gradient, optimizer, checkpoint, file, predicted, measured }) => [
            name,
            weights,
            gradient,
            optimizer,
            checkpoint,
            file,
            name === "FT" ? 100 * file : weights + 100 * file,
            predicted,
            measured,
          ]),
        },
      ],
      notes: [
        `The peak is of a training process of its own, with ${STEPS} steps of 8 examples. It holds activations and the runtime too: these depend on the batch, and LoRA saves few of them.`,
        "100 tasks: full fine-tuning stores 100 models, LoRA one model and 100 adapters.",
      ],
    };
  },
};
