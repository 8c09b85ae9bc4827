/** A server under load, on a tiny model: 200 streams at once against a queue of 64, readers that are slow or leave, then requests one
 *  after the other from 16 clients, with the memory of the server's process. Prints one JSON object; exits with 1 where a request ends
 *  otherwise than with an answer or a 429, or memory grows by more than a quarter after the first tenth.
 *    npm run build && node bench/load.mjs [--requests 10000] */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { requests: { type: "string", default: "10000" } } });
const REQUESTS = Number(values.requests);
const [STREAMS, CLIENTS, SAMPLES] = [200, 16, 20];
const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

async function start() {
  const model = file("test/fixtures/models/llama");
  const limits = ["--max-batch", "16", "--max-queue", "64", "--context-length", "256", "--threads", "1"];
  const command = [
    file("dist/cli/main.js"),
    "serve",
    model,
    "--adapters",
    model,
    "--port",
    "0",
    "--offline",
    ...limits,
  ];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/^(http:\S+)\/v1/)?.[1];
    if (url) return { child, url };
  }
  throw new Error("the server did not start");
}

function ask(url, i, { stream = false, maxTokens = 8, signal } = {}) {
  const model = i % 3 === 0 ? "adapter" : "llama";
  const messages = [{ role: "user", content: `Request ${i} of many` }];
  const body = { model, messages, max_tokens: maxTokens, temperature: 0, stream };
  const headers = { "content-type": "application/json" };
  return fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** "answer", "429", or what else it was. `pauseMs`: of the reader after each piece. */
async function streamed(url, i, pauseMs = 0) {
  const response = await ask(url, i, { stream: true, maxTokens: 24 });
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    if (pauseMs > 0) await delay(pauseMs);
  }
  if (response.status === 429) return "429";
  return response.status === 200 && text.endsWith("data: [DONE]\n\n")
    ? "answer"
    : `${response.status} ${text.slice(-80)}`;
}

/** Leaves after the first bytes. */
async function left(url, i) {
  const leaving = new AbortController();
  const response = await ask(url, i, { stream: true, maxTokens: 200, signal: leaving.signal });
  if (response.status === 429) return "429";
  await response.body?.getReader().read();
  leaving.abort();
  return "left";
}

function tally(results) {
  const counts = {};
  for (const result of results) counts[result] = (counts[result] ?? 0) + 1;
  return counts;
}

async function residentBytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return 1024 * Number(status.match(/VmRSS:\s+(\d+)/)?.[1]);
}

/** Requests one after the other from each client; memory after every twentieth part. */
async function steady(url, pid) {
  const memory = [];
  let next = 0;
  const results = [];
  const client = async () => {
    while (next < REQUESTS) {
      const i = next++;
      const response = await ask(url, i, { maxTokens: 2 });
      await response.text();
      results.push(String(response.status));
      if ((i + 1) % Math.ceil(REQUESTS / SAMPLES) === 0) memory.push(await residentBytes(pid));
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { results: tally(results), memoryMiB: memory.map((bytes) => Math.round(bytes / 2 ** 20)) };
}

async function idle(url) {
  for (let i = 0; i < 100; i++) {
    const text = await (await fetch(`${url}/metrics`)).text();
    if (/^lowrank_requests_running 0$/m.test(text) && /^lowrank_requests_waiting 0$/m.test(text)) return true;
    await delay(50);
  }
  return false;
}

const { child, url } = await start();
try {
  const numbers = (count) => Array.from({ length: count }, (_, i) => i);
  const burst = tally(await Promise.all(numbers(STREAMS).map((i) => streamed(url, i))));
  const beside = await Promise.all([
    ...numbers(4).map((i) => streamed(url, i, 200)),
    ...numbers(20).map((i) => left(url, i)),
    ...numbers(20).map((i) => streamed(url, 100 + i)),
  ]);
  const isIdle = await idle(url);
  const { results, memoryMiB } = await steady(url, child.pid);
  const growth = memoryMiB.at(-1) / memoryMiB[Math.floor(memoryMiB.length / 10)];
  const isRight =
    [burst, tally(beside)].every((counts) =>
      Object.keys(counts).every((k) => ["answer", "429", "left"].includes(k)),
    ) &&
    isIdle &&
    results["200"] === REQUESTS &&
    growth < 1.25;
  process.stdout.write(
    `${JSON.stringify({ burst, slowAndLeaving: tally(beside), isIdleAfterwards: isIdle, requests: results, memoryMiB, isRight }, null, 2)}\n`,
  );
  process.exitCode = isRight ? 0 : 1;
} finally {
  child.kill("SIGTERM");
}
