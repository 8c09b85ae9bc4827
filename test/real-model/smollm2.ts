import { createHash } from "node:crypto";
import type { BaseModel } from "../../src/models/base.ts";
import type { Message } from "../../src/text/messages.ts";
import { readFixture } from "../graph/harness.ts";
import { fixturePath } from "../peft/adapters.ts";

/** The model under test, fetched by the product on first use. */
export const MODEL = "smollm2-135m";

/** LoRA on it, made by PEFT. */
export const ADAPTER: string = fixturePath("smollm2/adapter");

/** A prompt and what transformers answers greedily. */
export interface Answer {
  readonly messages: readonly Message[];
  readonly prompt: readonly number[];
  readonly ids: readonly number[];
  readonly ended: boolean;
}

export interface Answers {
  /** Of the embedding as float32. */
  readonly sha256: string;
  readonly base: readonly Answer[];
  readonly adapter: readonly Answer[];
}

export const answers: Answers = readFixture<Answers>("smollm2/greedy.json");

/** The short name may stand for the Hub's original, whose weights are not the packaged Q4_1 ones. */
export async function hasFixtureWeights(base: BaseModel): Promise<boolean> {
  const { data } = await base.weights.read("embed.weight");
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash("sha256").update(bytes).digest("hex") === answers.sha256;
}
