import type { Command } from "commander";
import { z } from "zod";
import type { LoadedModel } from "../generate/loaded.ts";
import type { GenerateRequest } from "../generate/stream.ts";
import { setting } from "../options/setting.ts";
import { templateSettings } from "../text/template-options.ts";
import { type Cli, examples } from "./command.ts";
import { printable } from "./display/text.ts";
import { EXIT, UsageError } from "./errors.ts";
import { type SamplingChoice, samplingOf, samplingSettings } from "./generate-settings.ts";
import { watchInterrupts } from "./interrupt.ts";
import { loadChosen, modelSettings } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const PROMPT = "Prompt";

const schema = z.strictObject({
  system: setting(z.string().min(1).nullable(), null, {
    group: PROMPT,
    value: "text",
    description: "system message",
  }),
  raw: setting(z.boolean(), false, {
    group: PROMPT,
    description: "continue the prompt as it is, without the chat template",
  }),
  ...modelSettings,
  ...templateSettings,
  ...samplingSettings,
});

type Choice = z.output<typeof schema>;

/** `lowrank generate`: the answer to one prompt, streamed to standard output. */
export function build(command: Command, cli: Cli): void {
  addSettings(
    command.argument("[prompt]", "the prompt; from standard input where it is left out or -"),
    schema,
  )
    .addHelpText(
      "after",
      examples([
        'lowrank generate "Why is the sky blue?"',
        'lowrank generate --adapter runs/us-addresses-1 "12 Elm St Apt 4, Salem, OR 97301"',
        'lowrank generate --adapter runs/a-1=0.7 --adapter runs/b-1=0.3 "Hello"',
        'lowrank generate --raw --temperature 0.8 --seed 7 "Once upon a time"',
        "cat question.txt | lowrank generate --max-tokens 64",
      ]),
    )
    .action((prompt: string | undefined) => action(prompt, command, cli));
}

async function action(promptArgument: string | undefined, command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const prompt = await promptText(promptArgument);
  const request = requestOf(prompt, choice);
  const interrupts = watchInterrupts(() => undefined);
  try {
    const model = await loadChosen(choice, cli, interrupts.signal);
    await stream(model, { ...request, signal: interrupts.signal }, cli).finally(() => model.close());
    if (interrupts.signal.aborted) cli.exitCode = EXIT.interrupted;
  } finally {
    interrupts.dispose();
  }
}

async function promptText(argument: string | undefined): Promise<string> {
  const isPiped = argument === "-" || (argument === undefined && !process.stdin.isTTY);
  const prompt = isPiped ? (await readInput()).replace(/\r?\n$/, "") : argument;
  if (prompt) return prompt;
  throw new UsageError(
    'no prompt: give it as an argument, e.g. lowrank generate "Hello", or on standard input',
  );
}

/** More than the contexts of models hold. */
const MAX_PROMPT_BYTES = 16 * 2 ** 20;

/** Standard input as text. @throws UsageError where it goes on and on */
async function readInput(): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_PROMPT_BYTES)
      throw new UsageError(
        `the prompt is longer than ${MAX_PROMPT_BYTES.toLocaleString("en")} bytes, the limit`,
      );
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString("utf8");
}

function requestOf(prompt: string, choice: Choice): GenerateRequest {
  if (choice.raw && choice.system !== null)
    throw new UsageError("--system needs the chat template; leave out --raw");
  const sampling = samplingOf(choice satisfies SamplingChoice);
  if (choice.raw) return { ...sampling, prompt, raw: true };
  const system = choice.system === null ? [] : [{ role: "system", content: choice.system } as const];
  return { ...sampling, messages: [...system, { role: "user", content: prompt }] };
}

/** Writes the pieces as they come; returns the whole. On a terminal control characters are made visible. */
export async function stream(model: LoadedModel, request: GenerateRequest, cli: Cli): Promise<string> {
  let answer = "";
  for await (const { text } of model.generate(request)) {
    answer += text;
    cli.out.write(cli.out.isLive ? printable(text) : text);
  }
  cli.out.write("\n");
  return answer;
}
