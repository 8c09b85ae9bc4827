// One case of bench/devices.mjs in a process of its own: node device.mjs '<request as JSON>' answers by a message.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { dist, train: options, generate } = JSON.parse(process.argv[2]);
const { train, loadModel } = await import(pathToFileURL(join(dist, "index.js")).href);

async function trained() {
  const [seconds, processorSeconds, losses] = [[], [], []];
  let used = process.cpuUsage();
  for await (const event of train(options))
    if (event.type === "step") {
      seconds.push(event.elapsedMs / 1000);
      losses.push(event.loss);
      const { user, system } = process.cpuUsage(used);
      processorSeconds.push((user + system) / 1e6);
      used = process.cpuUsage();
    }
  return { seconds, processorSeconds, losses };
}

async function generated({ tokens, ...where }) {
  const model = await loadModel({ ...where, contextLength: 512 });
  const request = { prompt: "Write a long story about a dog.", temperature: 0 };
  await model.generateText({ ...request, maxTokens: 2 }); // compiles
  const first = await model.generateText({ ...request, maxTokens: 1 });
  const { ids, elapsedMs } = await model.generateText({ ...request, maxTokens: tokens });
  await model.close();
  return { tokensPerSecond: (1000 * (ids.length - 1)) / (elapsedMs - first.elapsedMs) };
}

const result = options ? await trained() : await generated(generate);
process.send({ ...result, peakBytes: process.resourceUsage().maxRSS * 1024 }, () => process.exit(0));
