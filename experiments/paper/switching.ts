import { measureSwap, type SwapReport } from "lowrank";
import type { Experiment } from "../experiment.ts";

const COUNTS = [2, 10, 100];

/** §4.2: switching tasks. */
export const switching: Experiment = {
  name: "switching",
  section: "§4.2",
  title: "Switching between tasks",
  question: "One base model serves many tasks when adapters are exchanged. What does an exchange cost?",
  theirs:
    "Tasks are switched at a much lower cost by swapping the LoRA weights alone. The paper gives no times.",
  version: 1,
  measure: async (lab) => {
    const found: (readonly [number, SwapReport | null])[] = [];
    for (const count of COUNTS)
      found.push([
        count,
        await lab.measured<SwapReport | null>(
          { what: "switching", adapters: count, rank: 8 },
          null,
          20 + count / 2,
          async () => {
            for await (const event of measureSwap({ model: lab.model, count, rank: 8 }))
              if (event.type === "result") return event;
            return null;
          },
        ),
      ]);
    const most = found.at(-1)?.[1];
    const swap = most?.swapping.medianMs ?? Number.NaN;
    const merge = most && typeof most.merging !== "string" ? most.merging.merge.medianMs : Number.NaN;
    return {
      claims: [
        {
          text: "Switching an adapter costs milliseconds, and does not depend on how many there are.",
          test: "The median switch among 100 adapters, unmerged, takes less than 50 ms.",
          verdict: Number.isNaN(swap) ? "cannot be told" : swap < 50 ? "held" : "did not hold",
          because: `${swap.toFixed(2)} ms unmerged, ${merge.toFixed(0)} ms merged`,
        },
      ],
      tables: [
        {
          name: "switching",
          title: "Random adapters of rank 8 on q and v",
          columns: [
            "adapters",
            "bytes of one file",
            "switch, ms (median)",
            "merge, ms",
            "unmerge, ms",
            "resident bytes, all",
          ],
          rows: found.map(([count, report]) => [
            count,
            report?.fileBytes ?? null,
            report?.swapping.medianMs ?? null,
            report && typeof report.merging !== "string" ? report.merging.merge.medianMs : null,
            report && typeof report.merging !== "string" ? report.merging.unmerge.medianMs : null,
            report?.residentBytes.all ?? null,
          ]),
        },
      ],
      notes: ["Times depend on the machine and on what else runs on it."],
    };
  },
};
