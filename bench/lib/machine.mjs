import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { run } from "./peers.mjs";

const VERSIONS = `
import json, platform
from importlib.metadata import version
names = ["torch", "transformers", "peft", "trl"]
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}}))`;

/** What the numbers were measured on and with; `others`: versions of other programs than lowrank and the Python peers. */
export async function describeMachine(peers, others = {}) {
  const own = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const runtime = createRequire(import.meta.url)("onnxruntime-node/package.json");
  return {
    cpu: cpus()[0].model,
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    versions: {
      lowrank: own.version,
      node: process.versions.node,
      "onnxruntime-node": runtime.version,
      ...(peers ? JSON.parse(await run(peers.python, ["-c", VERSIONS])) : {}),
      ...others,
    },
    date: new Date().toISOString().slice(0, 10),
  };
}

/** The same as one line of Markdown. */
export function machineLine({ cpu, cores, memoryGiB, system, versions, date }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; ${list.join(", ")}; ${date}.`;
}
