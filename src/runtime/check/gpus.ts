import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";

/** A GPU as the system knows it. */
export interface Gpu {
  /** `NVIDIA (nvidia)`: maker and kernel driver. */
  readonly name: string;
  /** Its own memory; null where that is not told, or it shares the machine's. */
  readonly memoryBytes: number | null;
}

/** By the numbers of the PCI special interest group. */
const MAKERS: Readonly<Record<string, string>> = {
  "0x10de": "NVIDIA",
  "0x1002": "AMD",
  "0x8086": "Intel",
  "0x1af4": "virtual (virtio)",
  "0x5143": "Qualcomm",
};

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function driverOf(device: string): string {
  try {
    return basename(readlinkSync(join(device, "driver")));
  } catch {
    return "unknown driver";
  }
}

function rendererOf(root: string, name: string): Gpu {
  const device = join(root, "sys/class/drm", name, "device");
  const maker = textOf(join(device, "vendor"));
  const memory = Number(textOf(join(device, "mem_info_vram_total"))); // of AMD's driver
  return {
    name: `${(maker && MAKERS[maker]) ?? maker ?? "GPU"} (${driverOf(device)})`,
    memoryBytes: memory > 0 ? memory : null,
  };
}

/** GPUs that the Linux kernel has a driver for, without asking the driver: nothing is loaded. null on other platforms, where that is
 *  not told. `root`: of the file system, for tests. */
export function gpusHere(platform: string = process.platform, root = "/"): readonly Gpu[] | null {
  if (platform !== "linux") return null;
  const renderers = namesIn(join(root, "sys/class/drm")).filter((name) => /^renderD\d+$/.test(name));
  const gpus = renderers
    .filter((name) => existsSync(join(root, "dev/dri", name)))
    .map((name) => rendererOf(root, name));
  const isNvidia = namesIn(join(root, "dev")).some((name) => /^nvidia\d+$/.test(name));
  if (isNvidia && !gpus.some(({ name }) => name.startsWith("NVIDIA")))
    gpus.push({ name: "NVIDIA (nvidia)", memoryBytes: null });
  if (existsSync(join(root, "dev/dxg"))) gpus.push({ name: "of the Windows host (dxg)", memoryBytes: null });
  return gpus;
}

function changedAt(path: string): number | null {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return null;
  }
}

/** What changes where a driver does: a check of a device holds as long as this. */
export function driverMark(platform: string = process.platform): string {
  const { SystemRoot: system = "C:\\Windows" } = process.env;
  const folders =
    platform === "win32"
      ? [join(system, "System32", "DriverStore", "FileRepository")]
      : ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
  const versions = ["/sys/module/nvidia/version", "/sys/module/amdgpu/version"].map(textOf);
  return JSON.stringify([platform, release(), gpusHere(platform), ...versions, ...folders.map(changedAt)]);
}
