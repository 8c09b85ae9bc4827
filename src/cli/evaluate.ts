import type { Command } from "commander";
import { z } from "zod";
import type { EvaluateEvent, EvaluationSummary } from "../evaluate/evaluate.ts";
import { evaluationSettings } from "../evaluate/options.ts";
import { measureTexts } from "../objectives/measures.ts";
import { templateSettings } from "../text/template-options.ts";
import { type Cli, examples } from "./command.ts";
import { formatDuration, formatInteger, formatLoss, formatShare } from "./display/format.ts";
import { type LiveLine, liveLine } from "./display/live-line.ts";
import { progressDisplay } from "./display/progress.ts";
import { labelled, printable } from "./display/text.ts";
import { watchInterrupts } from "./interrupt.ts";
import { importEvaluate } from "./library.ts";
import { modelSettings, resolveModel } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const schema = z.strictObject({ ...modelSettings, ...templateSettings, ...evaluationSettings });

/** `lowrank evaluate`: loss, and what the model's task measures; with --generate the measures of whole answers. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      examples([
        "lowrank evaluate --adapter runs/us-addresses-1",
        "lowrank evaluate --model ./llama --data held-out.jsonl --generate --limit 100 --json",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const interrupts = watchInterrupts(() => undefined);
  const show = eventDisplay(cli);
  try {
    const { adapter: _named, ...options } = choice;
    const request = {
      ...options,
      ...(await resolveModel(choice, (p) => show.show({ type: "progress", ...p }))),
      signal: interrupts.signal,
    };
    const evaluate = await importEvaluate();
    for await (const event of evaluate(request)) {
      show.show(event);
      if (event.type !== "result") continue;
      show.close();
      cli.out.write(command.opts().json ? jsonOf(event) : textOf(event, cli.out.columns()));
    }
  } finally {
    show.close();
    interrupts.dispose();
  }
}

/** Progress and warnings on stderr: the result alone goes to stdout. */
function eventDisplay({ err }: Cli): { show(event: EvaluateEvent): void; close(): void } {
  const bytes = progressDisplay(err);
  let live: LiveLine | null = null;
  const close = (): void => {
    bytes.close();
    live?.stop();
    live = null;
  };
  return {
    show: (event) => {
      if (event.type === "progress") return bytes.show(event);
      bytes.close();
      if (event.type === "warning") (live ?? err).write(`warning: ${printable(event.message)}\n`);
      if (event.type !== "examples" || !err.isLive) return;
      live ??= liveLine(err);
      live.update(event.done / event.total, `${event.done}/${event.total} examples`);
    },
    close,
  };
}

function jsonOf({ type: _type, ...result }: EvaluationSummary): string {
  return `${JSON.stringify(result, null, 2)}\n`;
}

/** The measures as a table. */
export function textOf(result: EvaluationSummary, columns: number): string {
  const rows: [string, string][] = [
    ["Loss", `${formatLoss(result.loss)} ${result.lossUnit}`],
    ...measureTexts(result).map(([title, value]): [string, string] => [title, value]),
  ];
  if (result.exactMatch !== undefined) rows.push(["Exact match", formatShare(result.exactMatch)]);
  if (result.bleu !== undefined) rows.push(["BLEU", result.bleu.toFixed(2)]);
  if (result.rouge1 !== undefined) rows.push(["ROUGE-1", result.rouge1.toFixed(4)]);
  if (result.rougeL !== undefined) rows.push(["ROUGE-L", result.rougeL.toFixed(4)]);
  const tokens =
    result.perplexity === undefined ? "" : `, ${formatInteger(result.labelTokens)} tokens with a loss`;
  const amount = `${formatInteger(result.examples)} examples${tokens}`;
  rows.push(["Over", `${amount}, in ${formatDuration(result.elapsedMs)}`]);
  return `${labelled(rows, columns).join("\n")}\n`;
}
