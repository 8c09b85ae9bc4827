import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { DATA_SETS, dataOptions } from "./examples.mjs";
import { trainHere } from "./side.mjs";

const SENTENCE =
  "The river runs past the old mill, under two bridges and through the market square, where on";
const DAYS = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

/** Plain text of about 400 tokens that asks for nothing, so that no answer ends early. */
export const LONG_PROMPT = Array.from(
  { length: 16 },
  (_, i) => `${SENTENCE} ${DAYS[i % 7]} number ${i + 1} is sold.`,
).join(" ");

/** A fresh adapter, which changes nothing: what training starts from. */
export async function zeroAdapter(context, options) {
  const output = join(context.work, `adapter-${options.rank}`);
  const data = dataOptions(DATA_SETS["shell-recipes"]);
  await rm(output, { recursive: true, force: true });
  await trainHere(context, { ...data, ...options, maxSteps: 1, batchSize: 1 }, async (_, start) => {
    await cp(start, output, { recursive: true });
  });
  return output;
}
