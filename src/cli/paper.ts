import type { Command } from "commander";
import { z } from "zod";
import { checkFields, dataSettings } from "../data/options.ts";
import { InputError } from "../errors.ts";
import { setting } from "../options/setting.ts";
import { names, text } from "../options/values.ts";
import { type Cli, examples } from "./command.ts";
import { formatDuration } from "./display/format.ts";
import { type LiveLine, liveLine } from "./display/live-line.ts";
import { progressDisplay } from "./display/progress.ts";
import { printable } from "./display/text.ts";
import { watchInterrupts } from "./interrupt.ts";
import { addSettings, settingsOf } from "./options.ts";
import { importPaper, type PaperEvent } from "./paper-module.ts";

const flag = (description: string) => setting(z.boolean(), false, { group: "Paper", description });

const { promptField, completionField, systemField, promptTemplate, messagesField, referencesField } =
  dataSettings;
/** Which fields of one's own rows mean what. */
const fieldSettings = {
  promptField,
  completionField,
  systemField,
  promptTemplate,
  messagesField,
  referencesField,
};

const schema = z.strictObject({
  quick: flag("in 20 minutes: few examples, one seed; shows how it works, decides nothing"),
  full: flag("five seeds, all the examples: a day"),
  only: setting(names.nullable(), null, {
    group: "Paper",
    value: "names",
    description: "experiments to run (--list names them)",
    defaultText: "all",
  }),
  list: flag("list the experiments"),
  model: setting(text, "smollm2-135m", { group: "Paper", value: "model", description: "model to adapt" }),
  data: setting(names.nullable(), null, {
    group: "Paper",
    value: "data",
    description: "your own prompts and answers, to ask the same of your task",
    defaultText: "the paper's tasks in small",
  }),
  ...fieldSettings,
  questions: setting(text.nullable(), null, {
    group: "Paper",
    value: "folder",
    description:
      "compare the methods on question classes too: a folder with train.jsonl and test.jsonl (fields question, coarse)",
    defaultText: "not compared",
  }),
  output: setting(text, "paper", {
    group: "Paper",
    value: "folder",
    description: "folder of the cells and the report; what is there is not measured again",
  }),
  offline: flag("use the cache only, never the network"),
});

type Choice = z.output<typeof schema>;

/** `lowrank paper`: the LoRA paper's tables and figures, measured in small. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank paper --quick",
        "lowrank paper --only rank,which-matrices",
        "lowrank paper --only rank --data mine.jsonl --output which-rank",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { quick, full, only, list, ...rest } = settingsOf(command, schema);
  if (quick && full)
    throw new InputError("the options do not hold:", [
      { where: "--quick", message: "cannot stand beside --full" },
    ]);
  const { runPaper, EXPERIMENTS } = await importPaper();
  if (list) {
    for (const { name, section, title } of EXPERIMENTS)
      cli.out.write(`${name.padEnd(22)} ${title} (${section})\n`);
    return;
  }
  const show = display(cli);
  const bytes = progressDisplay(cli.err);
  const interrupts = watchInterrupts(() =>
    show.print("stopping after this step; the same command goes on from here"),
  );
  const size = quick ? "quick" : full ? "full" : "default";
  const { data, questions, model, output, offline, ...fields } = rest;
  const named = Object.fromEntries(Object.entries(fields).filter(([, field]) => field !== null));
  checkData(rest);
  try {
    const request = {
      ...{ model, output, offline, size },
      signal: interrupts.signal,
      ...(data && { data, fields: named }),
      ...(questions && { questions }),
      ...(only && { only }),
    };
    for await (const event of runPaper({ ...request, onProgress: bytes.show })) {
      bytes.close();
      show.show(event);
    }
  } catch (error) {
    if (!interrupts.signal.aborted) throw error;
    cli.exitCode = interrupts.exitCode;
  } finally {
    bytes.close();
    show.close();
    interrupts.dispose();
  }
}

/** @throws InputError for options about data that cannot stand together, or do nothing without data of one's own */
function checkData({ data, questions, ...others }: Omit<Choice, "quick" | "full" | "only" | "list">): void {
  const flag = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  const idle = (Object.keys(fieldSettings) as (keyof typeof fieldSettings)[]).filter(
    (name) => data === null && others[name] !== null,
  );
  const problems = [
    ...idle.map((name) => ({ where: flag(name), message: "has no effect without --data" })),
    ...(data && questions ? [{ where: "--questions", message: "has no effect beside --data" }] : []),
    ...checkFields(others, flag, () => true),
  ];
  if (problems.length > 0) throw new InputError("the options do not hold:", problems);
}

interface PaperDisplay {
  show(event: PaperEvent): void;
  print(line: string): void;
  close(): void;
}

function display({ out }: Cli): PaperDisplay {
  let line: LiveLine | null = null;
  const print = (text: string): void => (line ?? out).write(`${printable(text)}\n`);
  return {
    print,
    show: (event) => {
      if (event.type === "plan") {
        const { experiments, cells, kept, size } = event;
        print(
          `${experiments.length} experiments, ${cells} cells, ${kept} of them there already; ${size.name}: ${size.summary}`,
        );
      } else if (event.type === "cell") {
        const { done, cells, etaMs, experiment, label, isDone } = event;
        const left = etaMs === null ? "" : `, ${formatDuration(etaMs)} left`;
        const state = `${done}/${cells} cells${left}: ${experiment}: ${printable(label)}`;
        if (out.isLive) {
          line ??= liveLine(out);
          line.update(done / cells, state);
        } else if (isDone) print(state);
      } else if (event.type === "experiment") {
        print(`${event.name}: ${event.title}`);
        for (const { text, verdict, because } of event.findings.claims)
          print(`  ${verdict}: ${text} (${because})`);
      } else
        print(
          `report: ${event.report}\nnumbers: ${event.results}, ${event.tables.length} CSV files beside it`,
        );
    },
    close: () => {
      line?.stop();
      line = null;
    },
  };
}
