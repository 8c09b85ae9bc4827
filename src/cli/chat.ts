import { createInterface, type Interface } from "node:readline/promises";
import type { Command } from "commander";
import { z } from "zod";
import { LowrankError } from "../errors.ts";
import type { LoadedModel } from "../generate/loaded.ts";
import type { GenerateRequest } from "../generate/stream.ts";
import { setting } from "../options/setting.ts";
import type { Message } from "../text/messages.ts";
import { templateSettings } from "../text/template-options.ts";
import { splitFactor } from "./adapter-names.ts";
import { type Cli, examples } from "./command.ts";
import { stream } from "./generate.ts";
import { samplingOf, samplingSettings } from "./generate-settings.ts";
import { watchInterrupts } from "./interrupt.ts";
import { loadChosen, modelSettings } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const schema = z.strictObject({
  system: setting(z.string().min(1).nullable(), null, {
    group: "Prompt",
    value: "text",
    description: "system message",
  }),
  ...modelSettings,
  ...templateSettings,
  ...samplingSettings,
});

const HELP =
  "/reset forgets the conversation, /adapter lists the adapters, /adapter NAME or NAME=FACTOR,… uses others (none: the base " +
  "alone), /exit (or Ctrl-D) ends; Ctrl-C stops an answer";

/** `lowrank chat`: a conversation, one line per turn. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank chat",
        "lowrank chat --adapter runs/notes-1 --temperature 0.7",
        "lowrank chat --adapter sql=runs/wikisql-1 --adapter notes=runs/notes-1",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const model = await loadChosen(choice, cli);
  const system: Message[] = choice.system === null ? [] : [{ role: "system", content: choice.system }];
  try {
    await converse(model, system, samplingOf(choice), cli);
  } finally {
    await model.close();
  }
}

/** Turn by turn until the input ends or the user leaves. */
export async function converse(
  model: LoadedModel,
  system: readonly Message[],
  sampling: GenerateRequest,
  cli: Cli,
): Promise<void> {
  const isLive = process.stdin.isTTY === true && cli.out.isLive;
  const lines = createInterface({ input: process.stdin, ...(isLive ? { output: process.stdout } : {}) });
  let messages = [...system];
  if (isLive) cli.out.write(`${cli.out.style.dim(HELP)}\n`);
  for await (const line of turns(lines, isLive ? cli.out.style.bold("> ") : "")) {
    const said = line.trim();
    if (said === "/exit" || said === "/quit") break;
    if (said === "/reset") messages = [...system];
    if (said === "/help") cli.out.write(`${HELP}\n`);
    const adapters = /^\/adapter(?:\s+(.*))?$/.exec(said);
    if (adapters) cli.out.write(await switchAdapters(model, adapters[1] ?? ""));
    if (said === "" || adapters || /^\/(reset|help)$/.test(said)) continue;
    messages = await answer(model, [...messages, { role: "user", content: line }], sampling, lines, cli);
  }
  lines.close();
}

/** Uses other adapters, where some are named. What is loaded and in use, or what is wrong. */
async function switchAdapters(model: LoadedModel, names: string): Promise<string> {
  try {
    if (names === "none") await model.set([]);
    else if (names !== "") await model.weights(Object.fromEntries(names.split(",").map(splitFactor)));
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return `${error.message}\n`;
  }
  const lines = Object.keys(model.adapters).map((name) => {
    const factor = model.active[name];
    return `${factor === undefined ? " " : "*"} ${name}${factor === undefined || factor === 1 ? "" : `=${factor}`}`;
  });
  return `${lines.length > 0 ? lines.join("\n") : "no adapter is loaded"}\n`;
}

/** Lines until the input ends; the prompt stands before each. */
async function* turns(lines: Interface, prompt: string): AsyncGenerator<string> {
  let isClosed = false;
  lines.once("close", () => {
    isClosed = true; // the lines that were read already still come
  });
  lines.setPrompt(prompt);
  lines.prompt();
  for await (const line of lines) {
    yield line;
    if (!isClosed) lines.prompt();
  }
}

/** The conversation with the model's answer, also where the user cut it short. */
async function answer(
  model: LoadedModel,
  messages: Message[],
  sampling: GenerateRequest,
  lines: Interface,
  cli: Cli,
): Promise<Message[]> {
  const interrupts = watchInterrupts(() => undefined);
  const stop = (): void => void process.emit("SIGINT"); // readline keeps Ctrl-C to itself on a terminal
  lines.on("SIGINT", stop);
  try {
    const content = await stream(model, { ...sampling, messages, signal: interrupts.signal }, cli);
    return [...messages, { role: "assistant", content }];
  } finally {
    lines.off("SIGINT", stop);
    interrupts.dispose();
  }
}
