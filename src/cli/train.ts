import type { Command } from "commander";
import { describeSettings, type Layer } from "../options/setting.ts";
import { fromFirst } from "../parallel/group.ts";
import { type TrainConfig, trainConfigSchema } from "../train/config/config.ts";
import { loadTrainConfig, quickStart } from "../train/config/file.ts";
import type { TrainEvent } from "../train/events.ts";
import { type Cli, examples } from "./command.ts";
import { type TrainDisplay, trainDisplay } from "./display/train-display.ts";
import { shellQuote } from "./display/train-text.ts";
import { UsageError } from "./errors.ts";
import { watchInterrupts } from "./interrupt.ts";
import { importTrain } from "./library.ts";
import { asMember } from "./member.ts";
import { addSettings, givenSettings } from "./options.ts";

/** `lowrank train`: flags, then a config file, then defaults; events shown as they come. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, trainConfigSchema)
    .option("-c, --config <file>", "YAML or JSON file of options (camelCase keys), or a recipe's name")
    .option("--json", "print events as JSON lines")
    .addHelpText(
      "after",
      examples([
        "lowrank train",
        "lowrank train --model smollm2-135m --data mine.jsonl --rank 8 --target-modules q_proj,v_proj",
        "lowrank train --config run.yaml --learning-rate 5e-4 --dry-run",
        "lowrank train --resume runs/mine-1",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { config: configFile, json } = command.opts<{ config?: string; json?: boolean }>();
  const flags = givenSettings(command, trainConfigSchema);
  await asMember(cli, async (group, notices) => {
    const load = (): Promise<TrainConfig> =>
      UsageError.fromAsync(() => loadTrainConfig({ flags, configFile }));
    const config = await fromFirst(group, load);
    const train = await importTrain();
    const show = group.rank > 0 ? silent : json ? jsonLines(cli) : trainDisplay(cli.out);
    const recipe = group.rank > 0 ? null : await quickStart({ flags, configFile });
    if (recipe !== null) show.print(quickStartText(recipe, flags, config));
    for (const line of notices) show.print(line);
    await runTraining((signal) => train(config, { signal, group }), show, cli);
  });
}

/** What a run takes from the quick start's recipe: options that nobody stated and that have an effect. */
function quickStartText(
  recipe: Layer,
  flags: Readonly<Record<string, unknown>>,
  config: TrainConfig,
): string {
  const taken = describeSettings(trainConfigSchema).flatMap(({ key, flag }) => {
    const value = recipe.values[key];
    const isTaken = value !== undefined && flags[key] === undefined;
    const used = config[key as keyof TrainConfig];
    return isTaken && String(value) === String(used) ? [`${flag} ${shellQuote(String(value))}`] : [];
  });
  return `no model and no data is named: the quick start, with\n  ${taken.join(" ")}`;
}

/** Shows a run's events to its end. The first Ctrl-C (SIGTERM) lets the step finish, and the
 *  process exits with 130 (143); the second ends it at once. */
export async function runTraining(
  start: (signal: AbortSignal) => AsyncIterable<TrainEvent>,
  show: TrainDisplay,
  cli: Cli,
): Promise<void> {
  const interrupts = watchInterrupts(() =>
    show.print("finishing the step and saving; press Ctrl-C again to stop at once"),
  );
  try {
    for await (const event of start(interrupts.signal)) {
      show.show(event);
      if (event.type === "stopped" && event.reason === "interrupt") cli.exitCode = interrupts.exitCode;
    }
  } finally {
    show.close();
    interrupts.dispose();
  }
}

/** Member 0 shows what all do. */
const silent: TrainDisplay = { show: () => undefined, print: () => undefined, close: () => undefined };

function jsonLines(cli: Cli): TrainDisplay {
  return {
    show: (event) => cli.out.write(`${JSON.stringify(event)}\n`),
    print: (line) => cli.err.write(`${line}\n`),
    close: () => undefined,
  };
}
