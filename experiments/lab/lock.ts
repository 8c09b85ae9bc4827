import { readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { InputError } from "lowrank";

/** Takes a folder for this process; what it returns gives it back. A holder that is gone holds nothing.
 *  @throws InputError if another process uses it */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, "lock");
  const own = `${hostname()} ${process.pid}`;
  try {
    await writeFile(path, own, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const holder = await readFile(path, "utf8").catch(() => "");
    if (isAlive(holder)) {
      const message = `${folder} is in use by process ${holder.split(" ")[1]}; wait for it to end, or choose another folder`;
      throw new InputError("the folder cannot be used", [{ where: "output", message }]);
    }
    await writeFile(path, own);
  }
  return () => rm(path, { force: true });
}

/** A process of this machine that runs; one of another machine may. */
function isAlive(holder: string): boolean {
  const [host, pid] = holder.split(" ");
  if (!host || !pid) return false;
  if (host !== hostname()) return true;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
