import type { SwapReport, Timings } from "../inspect/swap.ts";
import { DEFAULT_DEVICE } from "../runtime/device.ts";
import type { Cli } from "./command.ts";
import { formatBytes, formatDuration, formatInteger } from "./display/format.ts";
import { type LiveLine, liveLine } from "./display/live-line.ts";
import { labelled } from "./display/text.ts";
import { importMeasureSwap } from "./library.ts";
import { progressTo, resolveModel } from "./model-settings.ts";

/** What the user said of task switching. */
export interface SwapFlags {
  readonly adapter: readonly string[];
  readonly count: string;
  readonly rank: string;
  readonly json?: boolean;
}

/** `lowrank inspect --swap`: task switching on a model, measured. */
export async function inspectSwap(model: string | null, flags: SwapFlags, cli: Cli): Promise<void> {
  const { onProgress, show, close } = progressTo(cli);
  let live: LiveLine | null = null;
  try {
    const where = { device: DEFAULT_DEVICE, threads: null, offline: false } as const;
    const choice = { model, adapter: flags.adapter, anyBase: false, baseBits: 32, ...where } as const;
    const { weights: _all, ...request } = await resolveModel(choice, onProgress);
    const measureSwap = await importMeasureSwap();
    const counts = { count: Number(flags.count), rank: Number(flags.rank) };
    for await (const event of measureSwap({ ...request, ...counts })) {
      if (event.type === "progress") show(event);
      else close();
      if (event.type === "adapters" && cli.err.isLive) {
        live ??= liveLine(cli.err);
        live.update(event.done / event.total, `${event.done}/${event.total} adapters loaded`);
      }
      if (event.type !== "result") continue;
      live?.stop();
      live = null;
      const { type: _type, ...report } = event;
      cli.out.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : textOf(event, cli.out.columns()));
    }
  } finally {
    close();
    live?.stop();
  }
}

/** "3.1 ms (2.8 to 5.0, median of 30)" */
function timesText({ medianMs, minMs, maxMs, count }: Timings): string {
  return `${milliseconds(medianMs)} (${milliseconds(minMs)} to ${milliseconds(maxMs)}, median of ${count})`;
}

function milliseconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : formatDuration(ms);
}

/** The measurements as a table. */
export function textOf(report: SwapReport, columns: number): string {
  const { adapters, residentBytes, storageBytes, merging } = report;
  const many = `${formatInteger(adapters)} ${adapters === 1 ? "adapter" : "adapters"}`;
  const added = (residentBytes.all - residentBytes.one) / Math.max(1, adapters - 1);
  const rows: [string, string][] = [
    ["Model", `${report.model}, ${formatBytes(report.modelBytes)} of float32 weights`],
    ["Adapters", `${many}${report.isRandom ? ", random LoRA on q and v" : ""}`],
    [
      "One adapter",
      `${formatBytes(report.fileBytes)} on disk, ${formatBytes(report.parameterBytes)} of parameters in memory`,
    ],
    ["Load", `${timesText(report.loading)} from disk, checked against the model`],
    ["First use", `${milliseconds(report.firstUseMs)}, its graph is loaded`],
    ["Swap", `${timesText(report.swapping)} from one in memory to another`],
    ...(typeof merging === "string"
      ? [["Merged", merging] as [string, string]]
      : [
          ["Swap, merged", `${timesText(merging.merge)} from one merged adapter to another`] as [
            string,
            string,
          ],
          ["Unmerge", timesText(merging.unmerge)] as [string, string],
        ]),
    ["Memory, base", `${formatBytes(residentBytes.base)} resident, this whole process`],
    ["Memory, 1 adapter", formatBytes(residentBytes.one)],
    [
      `Memory, ${many}`,
      `${formatBytes(residentBytes.all)}, ${formatBytes(Math.max(0, added))} for each further one`,
    ],
    ["Memory, peak", `${formatBytes(report.peakBytes)}, merging included`],
    ["Storage", `${formatBytes(storageBytes.together)}: the base and ${many}`],
    ["Storage, merged", `${formatBytes(storageBytes.merged)}: ${formatInteger(adapters)} merged models`],
  ];
  return `${labelled(rows, columns).join("\n")}\n`;
}
