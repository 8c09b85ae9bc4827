// usage: fake-training.mjs <built cli folder> polite|stubborn|failing: the train command's loop around a made-up run.
import { pathToFileURL } from "node:url";

const [, , dist, manner] = process.argv;
const { runTraining } = await import(pathToFileURL(`${dist}/train.js`).href);
const { trainDisplay } = await import(pathToFileURL(`${dist}/display/train-display.js`).href);
const { outputTo } = await import(pathToFileURL(`${dist}/display/output.js`).href);
const { TrainingError } = await import(pathToFileURL(`${dist}/../errors.js`).href);

const numbers = { loss: 2, learningRate: 1e-3, gradNorm: 1, labelTokens: 9, trieTokens: 20, examples: 8 };
const speed = { elapsedMs: 20, tokensPerSecond: 900, examplesPerSecond: 9, etaMs: 1000 };

async function* training(signal) {
  for (let step = 1; step <= 200; step++) {
    await new Promise((done) => setTimeout(done, 20));
    if (manner === "failing" && step === 2) throw new TrainingError("the loss of step 2 is not finite");
    yield { type: "step", step, steps: 200, epoch: step / 200, ...numbers, ...speed };
    if (manner === "polite" && signal.aborted) {
      yield { type: "stopped", reason: "interrupt", step, resumeHint: "lowrank train --resume runs/x-1" };
      return;
    }
  }
}

const cli = { out: outputTo(process.stdout), err: outputTo(process.stderr), exitCode: 0 };
try {
  await runTraining(training, trainDisplay(cli.out), cli);
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
}
process.exitCode = cli.exitCode;
