import { afterAll, expect, test } from "vitest";
import type { Example } from "../../src/data/batch.ts";
import { encodeDataset } from "../../src/data/examples.ts";
import { openBase } from "../../src/models/base-model.ts";
import { virtualExample, virtualPrompt } from "../../src/peft/virtual-tokens.ts";
import { encodePrompt } from "../../src/text/chat-encode.ts";
import type { Message } from "../../src/text/messages.ts";
import { openLab, tinyModel } from "./tiny-run.ts";

const lab = openLab();
afterAll(lab.remove);

const LAYOUT = { prefix: [1000, 1001], infix: [1002] };
const MESSAGES: readonly Message[] = [
  { role: "system", content: "be brief" },
  { role: "user", content: "list the files" },
  { role: "assistant", content: "ls" },
  { role: "user", content: "all of them" },
  { role: "assistant", content: "ls -a" },
];

test.each(["completions", "all"] as const)(
  "every answer of a conversation has the tokens before it that generation gives it; loss on %s",
  async (lossOn) => {
    const base = await openBase(tinyModel("llama"), { offline: true });
    const row = { kind: "conversation", messages: MESSAGES } as const;
    const rows = [{ row, where: { file: "a.jsonl", unit: "line" as const, line: 1 } }];
    const { tokenizer, template, eosIds } = base;
    const { examples } = await encodeDataset(
      rows,
      { tokenizer, template, eosIds },
      { maxLength: 400, lossOn },
    );
    const [plain] = examples;
    const { ids, isLabel } = virtualExample(plain as Example, LAYOUT);
    for (const answer of [2, 4]) {
      const prompt = encodePrompt(base, MESSAGES.slice(0, answer));
      const asked = virtualPrompt(prompt.ids, LAYOUT, prompt.answerStart);
      expect(Array.from(ids.subarray(0, asked.length))).toEqual(asked);
      expect(isLabel[asked.length], "the answer begins here").toBe(1);
      expect(asked.filter((id) => id === 1002)).toHaveLength(1);
    }
    // Virtual tokens are no labels, and none is lost.
    const labels = (of: Uint8Array): number => of.reduce((n, x) => n + x, 0);
    expect(labels(isLabel)).toBe(labels(plain?.isLabel as Uint8Array));
    ids.forEach((id, i) => {
      if (id >= 1000) expect(isLabel[i]).toBe(0);
    });
  },
);
