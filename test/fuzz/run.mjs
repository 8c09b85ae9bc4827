#!/usr/bin/env node
// Gives every reader damaged and hostile input, and counts what is neither read nor refused with an error of ours: other
// exceptions, more than 20 s, more than 1.5 GB. Failing inputs are kept with their seed.
//   npm run fuzz -- [--minutes 1 | --cases 20] [--seed 1] [--targets "zip,csv"] [--out fuzz-failures]
import { fork } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const LIMIT_MS = 20_000;
const START_MS = 120_000;
const INTERVAL_MS = 10_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    cases: { type: "string" },
    seed: { type: "string", default: "1" },
    targets: { type: "string" },
    table: { type: "string", default: fileURLToPath(new URL("targets.mjs", import.meta.url)) },
    out: { type: "string", default: "fuzz-failures" },
    "limit-ms": { type: "string", default: String(LIMIT_MS) },
  },
});
const limitMs = Number(values["limit-ms"]);
const worker = fileURLToPath(new URL("worker.mjs", import.meta.url));
const endMs = Date.now() + 60_000 * Number(values.minutes);
const rounds = values.cases === undefined ? Number.POSITIVE_INFINITY : Number(values.cases);

let child = null;
let names = [];
let pending = [];
let said = "";

/** The worker's next message, or what it did instead. */
function next(waitMs) {
  return new Promise((resolve) => {
    const done = (answer) => {
      clearTimeout(timer);
      child.removeAllListeners();
      resolve(answer);
    };
    const timer = setTimeout(
      () => done({ failure: `took more than ${waitMs / 1000} s`, isGone: true }),
      waitMs,
    );
    child.once("message", done);
    child.once("close", (code, signal) =>
      done({ failure: `ended the process (${signal ?? code}) ${said}`, isGone: true }),
    );
  });
}

async function start() {
  child = fork(worker, [values.table], {
    execArgv: ["--max-old-space-size=1024"],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  said = "";
  child.stderr.on("data", (text) => {
    said = (said + text).slice(-4000);
  });
  const answer = await next(START_MS);
  if (!answer.names) throw new Error(`the readers do not start: ${answer.failure}\n${said}`);
  const chosen = values.targets?.split(",");
  const isChosen = ({ name, pending }) => chosen?.includes(name) ?? pending === undefined;
  names = answer.names.filter(isChosen).map(({ name }) => name);
  pending = answer.names.filter(({ name, pending }) => pending && !names.includes(name));
  if (names.length === 0)
    throw new Error(`no such reader; known: ${answer.names.map((n) => n.name).join(", ")}`);
}

function stop() {
  child?.removeAllListeners();
  child?.kill("SIGKILL");
  child = null;
}

async function ask(message, waitMs = limitMs) {
  if (child === null) await start();
  child.send(message);
  const answer = await next(waitMs);
  if (answer.isGone) stop();
  return answer.failure;
}

/** Writes the input of a failing case, and how to get at it again. */
async function keep(name, seed, failure) {
  const folder = join(values.out, `${name.replaceAll(" ", "-")}-${seed}`);
  mkdirSync(folder, { recursive: true });
  await ask({ name, seed, keepAt: join(folder, "input") });
  writeFileSync(join(folder, "failure.txt"), `${name}, seed ${seed}\n${failure}\n`);
  console.log(
    `FAILED ${name}, seed ${seed}: ${failure.split("\n").slice(0, 2).join(" ").slice(0, 300)}\n  input: ${folder}`,
  );
}

const failures = new Map();
let cases = 0;
let saidMs = Date.now();
const first = 1_000_000 * Number(values.seed);
await start();
for (const { name, pending: why } of pending) console.log(`not run: ${name} (${why})`);
for (let round = 0; round < rounds && Date.now() < endMs; round++)
  for (const name of names) {
    if (rounds === Number.POSITIVE_INFINITY && Date.now() >= endMs) break;
    const failure = await ask({ name, seed: first + round });
    cases++;
    if (failure) {
      failures.set(name, (failures.get(name) ?? 0) + 1);
      if (failures.get(name) <= 5) await keep(name, first + round, failure);
    }
    if (Date.now() - saidMs < INTERVAL_MS) continue;
    saidMs = Date.now();
    console.log(
      `${cases} inputs, round ${round + 1}, ${[...failures.values()].reduce((a, b) => a + b, 0)} failed`,
    );
  }
stop();
const failed = [...failures].map(([name, count]) => `${name} ${count}`).join(", ");
console.log(
  `${cases} inputs to ${names.length} readers, seed ${values.seed}: ${failed === "" ? "none failed" : `failed: ${failed}`}`,
);
process.exitCode = failed === "" ? 0 : 1;
