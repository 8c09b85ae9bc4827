/** One lowrank run in a process of its own, for its peak memory: node lowrank-run.mjs '<options as JSON>' prints JSON. */
import { trainLowrank } from "./settings.mjs";

const { steps, firstStepSeconds } = await trainLowrank(JSON.parse(process.argv[2]));
const stepSeconds = steps.map((s) => s.elapsedMs / 1000);
const peakRssBytes = process.resourceUsage().maxRSS * 1024;
const [losses, trieTokens] = [steps.map((s) => s.loss), steps.map((s) => s.trieTokens)];
process.stdout.write(JSON.stringify({ losses, trieTokens, stepSeconds, firstStepSeconds, peakRssBytes }));
