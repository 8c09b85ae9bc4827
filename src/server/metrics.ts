import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "../generate/engine/engine.ts";

/** What is counted and measured, for Prometheus. */
export interface Metrics {
  readonly registry: Registry;
  /** One request answered, by the path of its route. */
  requestEnded(route: string, status: number, seconds: number): void;
  firstToken(seconds: number): void;
}

/** From a short answer of a small model to one that waited in the queue. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Metrics of an engine in a registry of their own. Labels hold no names of requests: their number stays bounded. */
export function createMetrics(engine: Engine): Metrics {
  const registry = new Registry();
  const registers = [registry];
  watchEngine(engine, registers);
  const requests = new Histogram({
    name: "lowrank_request_seconds",
    help: "Time of requests, streams to their end",
    labelNames: ["route", "status"],
    buckets: SECONDS,
    registers,
  });
  const firstToken = new Histogram({
    name: "lowrank_time_to_first_token_seconds",
    help: "Time from a request to its first token, the queue included",
    buckets: SECONDS,
    registers,
  });
  return {
    registry,
    requestEnded: (route, status, seconds) => requests.observe({ route, status: String(status) }, seconds),
    firstToken: (seconds) => firstToken.observe(seconds),
  };
}

function watchEngine(engine: Engine, registers: Registry[]): void {
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({ name, help, registers, collect: setTo(value) });
  };
  const total = (name: string, help: string, value: () => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  };
  gauge("lowrank_requests_running", "Requests that are computed", () => engine.status.running);
  gauge("lowrank_requests_waiting", "Requests in the queue", () => engine.status.waiting);
  gauge("lowrank_adapters_loaded", "Adapters in memory", () => Object.keys(engine.adapters).length);
  total("lowrank_prompt_tokens_total", "Tokens of prompts", () => engine.status.promptTokens);
  total("lowrank_generated_tokens_total", "Tokens generated", () => engine.status.generatedTokens);
}

function setTo(value: () => number) {
  return function (this: Gauge): void {
    this.set(value());
  };
}
