import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type GgufTensorType, ggufTypeOf, quantize } from "../../../src/formats/gguf/quantize.ts";

const fixture = JSON.parse(
  readFileSync(new URL("../../fixtures/k-quants/quants.json", import.meta.url), "utf8"),
) as { values: string; blocks: Record<string, string> };

const decode = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, "base64"));

test.each(Object.entries(fixture.blocks))("%s: llama.cpp's own bytes", (type, blocks) => {
  const values = new Float32Array(decode(fixture.values).buffer);
  const expected = decode(blocks);
  const got = quantize(type as GgufTensorType, values, "w");
  const { blockSize, blockBytes } = ggufTypeOf(type as GgufTensorType);
  expect(got.length).toBe((values.length / blockSize) * blockBytes);
  const wrong = Array.from({ length: values.length / blockSize }, (_, b) => b).filter(
    (b) =>
      Buffer.compare(
        got.subarray(b * blockBytes, (b + 1) * blockBytes),
        expected.subarray(b * blockBytes, (b + 1) * blockBytes),
      ) !== 0,
  );
  expect(wrong, "blocks that differ").toEqual([]);
});
