import { type TrainOptions, train } from "lowrank";

/** Trains with the options of its first argument, as JSON, and prints the bytes that its plan expects at the peak and those that the
 *  process had. A process of its own: peaks of one that has done other work before are not of the training alone. */
let predicted = 0;
for await (const event of train(JSON.parse(process.argv[2] as string) as TrainOptions)) {
  if (event.type === "plan") predicted = event.resources.memoryBytes;
  if (event.type === "done")
    process.stdout.write(`${JSON.stringify({ predicted, measured: event.measured.peakMemoryBytes })}\n`);
}
