#!/usr/bin/env node
// Everything else is loaded after the check of Node's version: an older Node would stop at syntax or an export that it lacks, with no
// word of why. For the same reason this file names no export that is younger than what it says itself (Node 14.8 can run it).
import * as nodeModule from "node:module";

const MANIFEST = "../../package.json";
/** The status of a failure that explains itself (`EXIT.failed`, which is not loaded yet). */
const FAILED = 1;

/** Lowest version that package.json's `engines` takes, `[20, 19, 0]`. */
function neededVersion(): number[] {
  const { engines } = nodeModule.createRequire(import.meta.url)(MANIFEST) as { engines: { node: string } };
  return numbersOf(engines.node.replace(">=", ""));
}

function numbersOf(version: string): number[] {
  return version.split(".").map(Number);
}

function isOlder(version: readonly number[], needed: readonly number[]): boolean {
  const place = needed.findIndex((number, i) => version[i] !== number);
  return place >= 0 && (version[place] as number) < (needed[place] as number);
}

/** Compiled code is kept between starts where Node can do so (22.1 and later). */
function keepCompiledCode(): void {
  (nodeModule as { enableCompileCache?: () => unknown }).enableCompileCache?.();
}

const needed = neededVersion();
if (isOlder(numbersOf(process.versions.node), needed)) {
  process.stderr.write(
    `error: lowrank needs Node ${needed.join(".")} or later, and this is Node ${process.versions.node}\n`,
  );
  process.exitCode = FAILED;
} else {
  keepCompiledCode();
  const { runProgram } = await import("./program.ts");
  await runProgram();
}
