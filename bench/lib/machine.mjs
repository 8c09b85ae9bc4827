import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { run } from "./peers.mjs";

const VERSIONS = `
import json, platform
from importlib.metadata import version
names = ["torch", "transformers", "peft", "trl"]
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}}))`;

/** Vector instructions on which the speed of products depends. */
const INSTRUCTIONS = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm"];

/** Those of `INSTRUCTIONS` that the CPU has; null where the system does not say. One name may stand for CPUs with and without. */
async function instructionsHere() {
  const text = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1].trim().split(/\s+/);
  return flags ? INSTRUCTIONS.filter((name) => flags.includes(name)) : null;
}

/** What the numbers were measured on and with; `peers` null where no Python takes part, `others`: versions of more programs. */
export async function describeMachine(peers, others = {}) {
  const own = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const runtime = createRequire(import.meta.url)("onnxruntime-node/package.json");
  return {
    cpu: cpus()[0].model,
    instructions: await instructionsHere(),
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
export function machineLine({ cpu, instructions, cores, memoryGiB, system, versions, date }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const has = instructions ? ` (${instructions.join(", ")})` : "";
  return `${cpu}${has}, ${cores} cores, ${memoryGiB} GiB, ${system}; ${list.join(", ")}; ${date}.`;
}
