import { setPriority } from "node:os";
import { LowrankError } from "../../errors.ts";
import { completeTrainConfig } from "../../train/config/file.ts";
import { ownIdentity } from "../../train/process.ts";
import { trainWith } from "../../train/trainer.ts";
import type { Order, Report } from "./protocol.ts";
import { thinned } from "./thinned.ts";

// The process of a job: trains as its server says, and stops with a checkpoint when it is told to or its server is gone.

/** Answers to requests come before training. */
const NICENESS = 10;
const REPORT_MS = 1000;

const stop = new AbortController();

function end(): void {
  stop.abort();
}

/** Resolves when everything told so far has left. */
let told: Promise<void> = Promise.resolve();

/** A server that is gone needs nothing. */
function tell(report: Report): void {
  const before = told;
  const sent = new Promise<void>((resolve) => {
    if (!process.connected || !process.send) return resolve();
    process.send(report, undefined, undefined, () => resolve());
  });
  told = before.then(() => sent);
}

async function run({ config, isResumed, limitBytes }: Extract<Order, { type: "train" }>): Promise<void> {
  const complete = isResumed ? await completeTrainConfig({ resume: config.output as string }) : config;
  const take = thinned((event) => tell({ type: "event", event }));
  for await (const event of trainWith(complete, { signal: stop.signal, limitBytes })) take(event);
}

async function obey(order: Order): Promise<void> {
  if (order.type === "stop") return end();
  try {
    await run(order);
  } catch (error) {
    const { code, message } =
      error instanceof LowrankError ? error : { code: "training_crashed", message: stackOf(error) };
    tell({ type: "error", code, message });
  }
  await told;
  process.exit();
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, end);
process.on("disconnect", () => {
  end();
  if (!isBusy) process.exit();
});
// Nobody reads what it writes after its server is gone.
process.stderr.on("error", () => undefined);
let isBusy = false;
process.on("message", (order: Order) => {
  isBusy ||= order.type === "train";
  if (order.type === "stop" && !isBusy) process.exit();
  void obey(order);
});
try {
  setPriority(NICENESS);
} catch {
  // Not every system lets a process step back.
}
setInterval(() => tell({ type: "memory", residentBytes: process.memoryUsage.rss() }), REPORT_MS).unref();
tell({ type: "hello", identity: await ownIdentity() });
