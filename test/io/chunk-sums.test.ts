import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { matchesSums, sumsBytes, sumWriter } from "../../src/io/chunk-sums.ts";
import { temporaryFolder } from "../formats/fixtures.ts";

const CHUNK = 4 * 2 ** 20;

it("sums do not depend on how the content is cut, and tell every change", async () => {
  const file = await open(join(await temporaryFolder(), "file"), "w+");
  for (const size of [0, 1, CHUNK, 2 * CHUNK + 5]) {
    const content = Buffer.from(Uint8Array.from({ length: size }, (_, i) => i * 7));
    const [whole, parts] = [sumWriter(), sumWriter()];
    whole.add(content);
    for (let at = 0; at < size; at += 1_000_003) parts.add(content.subarray(at, at + 1_000_003));
    const table = whole.finish();
    expect(parts.finish()).toEqual(table);
    expect(table.length).toBe(sumsBytes(size));
    const all = Buffer.concat([content, table]);
    await file.truncate(0);
    await file.write(all, 0, all.length, 0);
    expect(await matchesSums(file, size, "all")).toBe(true);
    expect(await matchesSums(file, size, { sampled: 1 })).toBe(true);
    for (const at of [0, size - 1, size, all.length - 1].filter((x) => x >= 0)) {
      await file.write(Uint8Array.of((all[at] as number) ^ 1), 0, 1, at);
      expect(await matchesSums(file, size, "all")).toBe(false);
      await file.write(all, at, 1, at);
    }
    await file.truncate(all.length - 1);
    expect(await matchesSums(file, size, "all")).toBe(false);
  }
  await file.close();
});
