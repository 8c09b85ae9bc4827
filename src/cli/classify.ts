import { text as readAll } from "node:stream/consumers";
import type { Command } from "commander";
import { z } from "zod";
import type { Classification, ClassifierInput, LoadedClassifier } from "../generate/classifier.ts";
import { setting } from "../options/setting.ts";
import { type Cli, examples } from "./command.ts";
import { formatShare } from "./display/format.ts";
import { printable } from "./display/text.ts";
import { UsageError } from "./errors.ts";
import { watchInterrupts } from "./interrupt.ts";
import { importLoadClassifier } from "./library.ts";
import { modelSettings, progressTo, resolveModel, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const schema = z.strictObject({
  ...modelSettings,
  pair: setting(z.string().nullable(), null, {
    group: "Text",
    value: "text",
    description: "second text of a pair; the first is the argument",
    knownAs: ["textPair"],
  }),
});

type Choice = z.output<typeof schema>;

/** `lowrank classify`: the class of each text, with the probabilities of all; of a regression model the value. */
export function build(command: Command, cli: Cli): void {
  addSettings(
    command.argument(
      "[texts...]",
      "the texts; one per line from standard input where they are left out or -",
    ),
    schema,
  )
    .option("--json", "print one JSON object per text")
    .addHelpText(
      "after",
      examples([
        'lowrank classify --adapter runs/reviews-1 "a great film"',
        'lowrank classify --model ./roberta-mnli --pair "Somebody sleeps." "A man is sleeping."',
        "lowrank classify --adapter runs/reviews-1 --json < reviews.txt",
      ]),
    )
    .action((texts: readonly string[]) => action(texts, command, cli));
}

async function action(texts: readonly string[], command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const inputs = inputsOf(await textsOf(texts), choice);
  const interrupts = watchInterrupts(() => undefined);
  try {
    const classifier = await load(choice, cli, interrupts.signal);
    const answers = await classifier.classify(inputs).finally(() => classifier.close());
    const { json } = command.opts<{ json?: boolean }>();
    cli.out.write(inputs.map((input, i) => line(input, answers[i] as Classification, json, cli)).join(""));
    const cut = answers.filter((a) => a.cutTokens > 0).length;
    if (cut > 0)
      warn(cli, [`${cut} of ${answers.length} texts are longer than the model's positions and were cut`]);
  } finally {
    interrupts.dispose();
  }
}

async function textsOf(given: readonly string[]): Promise<readonly string[]> {
  const isPiped = given[0] === "-" || (given.length === 0 && !process.stdin.isTTY);
  const texts = isPiped ? (await readAll(process.stdin)).split(/\r?\n/).filter((text) => text !== "") : given;
  if (texts.length > 0) return texts;
  throw new UsageError(
    'no text: give it as an argument, e.g. lowrank classify "a great film", or on standard input',
  );
}

function inputsOf(texts: readonly string[], { pair }: Choice): readonly ClassifierInput[] {
  if (pair === null) return texts;
  return texts.map((text): ClassifierInput => [text, pair]);
}

async function load(choice: Choice, cli: Cli, signal: AbortSignal): Promise<LoadedClassifier> {
  const { onProgress, close } = progressTo(cli);
  try {
    const request = await resolveModel(choice, onProgress);
    const loadClassifier = await importLoadClassifier();
    const classifier = await loadClassifier({ ...request, onProgress, signal });
    close();
    warn(cli, [...classifier.base.warnings, ...(classifier.adapter?.warnings ?? [])]);
    return classifier;
  } finally {
    close();
  }
}

/** "good  87.1%  (fair 10.2%, bad 2.7%)  a great film" */
function line(input: ClassifierInput, answer: Classification, json: boolean | undefined, cli: Cli): string {
  const [text, pair] = typeof input === "string" ? [input, undefined] : input;
  if (json) return `${JSON.stringify({ text, ...(pair === undefined ? {} : { pair }), ...answer })}\n`;
  const names = Object.keys(answer.scores);
  const shown = cli.out.isLive ? printable(text) : text;
  if (names.length === 1) return `${answer.label}  ${shown}\n`;
  const others = names
    .filter((name) => name !== answer.label)
    .sort((a, b) => (answer.scores[b] as number) - (answer.scores[a] as number))
    .map((name) => `${name} ${formatShare(answer.scores[name] as number)}`);
  return `${answer.label}  ${formatShare(answer.score)}  (${others.join(", ")})  ${shown}\n`;
}
