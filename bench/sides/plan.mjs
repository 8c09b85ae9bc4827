/** Reads and encodes a data set as training does, and stops before the first step: { seconds, peakRssBytes, examples }.
 *    node plan.mjs '<training options>' */
import { train } from "../lib/lowrank.mjs";
import { SETTINGS } from "../trl/settings.mjs";

let examples = 0;
for await (const event of train({ ...SETTINGS, offline: true, dryRun: true, ...JSON.parse(process.argv[2]) }))
  if (event.type === "plan") examples = event.examples;
const [seconds, peakRssBytes] = [performance.now() / 1000, process.resourceUsage().maxRSS * 1024];
process.stdout.write(JSON.stringify({ seconds, peakRssBytes, examples }));
