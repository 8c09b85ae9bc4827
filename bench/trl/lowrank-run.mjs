/** One lowrank run in a process of its own, for its peak memory: node lowrank-run.mjs '<options as JSON>' prints JSON. */
import { trainLowrank } from "./settings.mjs";

const { steps } = await trainLowrank(JSON.parse(process.argv[2]));
const stepSeconds = steps.map((s) => s.elapsedMs / 1000);
const peakRssBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(JSON.stringify({ losses: steps.map((s) => s.loss), stepSeconds, peakRssBytes }));
