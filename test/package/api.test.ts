import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { apiReports } from "../../scripts/api-report.mjs";

const UPDATE = "the public surface is another than api/ says; where that is meant: npm run api";

test.each([...apiReports()])("%s is the surface of the build", async (file, report) => {
  const kept = await readFile(new URL(`../../api/${file}`, import.meta.url), "utf8").catch(() => "");
  expect(kept, UPDATE).toBe(report);
});
