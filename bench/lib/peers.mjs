import { spawn } from "node:child_process";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** The Python peers: an interpreter with PyTorch, PEFT and TRL, and the model as a Hugging Face folder. */
export async function findPeers(folder) {
  if (!folder)
    throw new Error("--peers DIR is missing: DIR/venv/bin/python and DIR/smollm2-hf (bench/README.md)");
  const peers = { python: resolve(folder, "venv/bin/python"), model: resolve(folder, "smollm2-hf") };
  for (const path of Object.values(peers))
    await access(path).catch(() => {
      throw new Error(`--peers: ${path} is not there (bench/README.md says how to make it)`);
    });
  return peers;
}

/** Runs a program; its output goes to stderr. Resolves to its standard output. Rejects if it fails. */
export function run(program, args) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    const output = [];
    child.stdout.on("data", (chunk) => output.push(chunk));
    child.on("error", fail);
    child.on("close", (code) =>
      code === 0
        ? done(Buffer.concat(output).toString())
        : fail(new Error(`${program} ${args[0]} ended with ${code}`)),
    );
  });
}

/** Calls `use` with a temporary folder, or with `keep` where the user wants to keep the files. */
export async function withWorkFolder(keep, use) {
  if (keep) return use(resolve(keep));
  const folder = await mkdtemp(join(tmpdir(), "lowrank-bench-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
