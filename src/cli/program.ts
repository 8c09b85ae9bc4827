import { Command } from "commander";
import { ownVersion } from "../io/own-version.ts";
import type { Cli, CommandEntry } from "./command.ts";
import { commands } from "./commands.ts";
import { outputTo } from "./display/output.ts";
import { EXIT, failureOf } from "./errors.ts";

const EXAMPLES = `
Examples:
  $ lowrank train                                    the quick start: SmolLM2-135M on us-addresses
  $ lowrank train --model ./llama --data mine.jsonl --rank 8 --epochs 2
  $ lowrank generate --adapter runs/us-addresses-1 "12 Elm St Apt 4, Salem, OR 97301"
  $ lowrank inspect model.gguf

Every command has its own help: lowrank train --help`;

/** Runs the command line of this process to its end and sets the exit status. */
export async function runProgram(): Promise<void> {
  endWithoutOutput(process.stdout);
  endWithoutOutput(process.stderr);
  const exitCode = await run(process.argv.slice(2));
  process.exitCode ??= exitCode;
}

/** Runs the command line; returns the exit status. */
async function run(argv: readonly string[]): Promise<number> {
  const tooLong = longCommandLine(argv);
  if (tooLong !== null) {
    process.stderr.write(`error: ${tooLong}\n`);
    return EXIT.usage;
  }
  const cli: Cli = { out: outputTo(process.stdout), err: outputTo(process.stderr), exitCode: 0 };
  try {
    await (await buildProgram(argv, cli)).parseAsync(argv as string[], { from: "user" });
    return cli.exitCode;
  } catch (error) {
    const failure = failureOf(error, argv.includes("--debug"));
    if (failure.message !== "") cli.err.write(`${failure.message}\n`);
    return failure.exitCode;
  }
}

/** Bytes of a command line: with a little more the execution engine crashes when it starts. */
const MAX_COMMAND_BYTES = 8192;

/** What to say of a command line that is too long; null of others. */
function longCommandLine(argv: readonly string[]): string | null {
  const bytes = argv.reduce((n, text) => n + Buffer.byteLength(text) + 1, 0);
  if (bytes <= MAX_COMMAND_BYTES) return null;
  const limit = MAX_COMMAND_BYTES.toLocaleString("en");
  return `the command line is ${bytes.toLocaleString("en")} bytes long, and the limit is ${limit}: give a long prompt on standard input, and many options or files in a --config file or a folder`;
}

async function buildProgram(argv: readonly string[], cli: Cli): Promise<Command> {
  const program = new Command("lowrank")
    .description("Fine-tune, merge, swap and run low-rank adapters of language models.")
    .version(ownVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .option("--debug", "show where an error came from")
    .addHelpText("after", EXAMPLES)
    .configureOutput({ writeOut: (text) => cli.out.write(text), writeErr: (text) => cli.err.write(text) })
    .exitOverride();
  const asked = new Set(argv);
  for (const entry of commands) await addCommand(program, entry, asked.has(entry.name), cli);
  return program;
}

/** Only a command that may have been asked for is loaded: help and version stay fast. */
async function addCommand(program: Command, entry: CommandEntry, isAsked: boolean, cli: Cli): Promise<void> {
  const command = program
    .command(entry.name)
    .summary(entry.summary)
    .description(`${sentence(entry.summary)}.`);
  command.option("--debug", "show where an error came from").helpOption("-h, --help", "print this help");
  if (isAsked) (await entry.load()).build(command, cli);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A reader that went away (`lowrank … | head`) is no error; a full disk is one. A command that watches for signals ends as one asks it to
 *  (training writes a checkpoint): leaving at once would pull the execution engine's memory away under it. */
function endWithoutOutput(stream: NodeJS.WriteStream): void {
  let isEnding = false;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") process.exitCode = EXIT.failed;
    if (error.code !== "EPIPE" && stream === process.stdout && !isEnding)
      process.stderr.write(`error: cannot write the output: ${error.message}\n`);
    if (process.listenerCount("SIGTERM") === 0) process.exit();
    if (!isEnding) process.kill(process.pid, "SIGTERM");
    isEnding = true;
  });
}
