import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Lines of a run's log: one per step, the loss falling from 3. */
export function stepLines(from: number, to: number, steps: number): string {
  const line = (step: number): string =>
    JSON.stringify({
      ...{ type: "step", step, steps, epoch: step / steps, loss: 3 - step / steps, learningRate: 1e-4 },
      ...{ gradNorm: 1, labelTokens: 10, trieTokens: 20, examples: 2, elapsedMs: 5, tokensPerSecond: 4000 },
      ...{ examplesPerSecond: 400, etaMs: 5 * (steps - step) },
    });
  return Array.from({ length: to - from + 1 }, (_, i) => `${line(from + i)}\n`).join("");
}

export function evaluationLine(step: number, loss: number): string {
  const event = {
    type: "evaluation",
    step,
    split: "validation",
    loss,
    labelTokens: 10,
    elapsedMs: 5,
    isBest: true,
  };
  return `${JSON.stringify(event)}\n`;
}

/** A run folder as `lowrank train` writes it, as far as the dashboard reads it. */
export async function writeRun(
  folder: string,
  { log, summary }: { readonly log: string; readonly summary?: unknown },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const config = { model: "/models/tiny", data: ["/home/someone/recipes.jsonl"], method: ["lora"] };
  await writeFile(join(folder, "run.json"), JSON.stringify(config));
  await writeFile(join(folder, "metrics.jsonl"), log);
  if (summary !== undefined) await writeFile(join(folder, "summary.json"), JSON.stringify(summary));
}
