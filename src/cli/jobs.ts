import type { Command } from "commander";
import { z } from "zod";
import { setting } from "../options/setting.ts";
import { type JobClient, jobClient } from "../server/jobs/client.ts";
import type { EventObject, JobObject } from "../server/jobs/objects.ts";
import { type Cli, examples } from "./command.ts";
import { pad, printable } from "./display/text.ts";
import { EXIT, UsageError } from "./errors.ts";
import { watchInterrupts } from "./interrupt.ts";
import { addSettings, settingsOf } from "./options.ts";

const SERVER = "Server";
const ACTIONS = ["list", "follow", "cancel", "pause", "resume"] as const;

type Action = (typeof ACTIONS)[number];

const schema = z.strictObject({
  url: setting(z.url({ protocol: /^https?$/ }), "http://127.0.0.1:8080", {
    group: SERVER,
    value: "url",
    description: "where `lowrank serve` listens",
    expects: "an address such as http://127.0.0.1:8080",
    knownAs: ["baseUrl", "host"],
  }),
  apiKey: setting(z.string().min(1).nullable(), null, {
    group: SERVER,
    value: "key",
    description:
      "key of the server; the variable LOWRANK_API_KEY holds one where no other user of the machine sees it",
    knownAs: ["token"],
  }),
  json: setting(z.boolean(), false, { group: SERVER, description: "print jobs and events as JSON lines" }),
});

/** `lowrank jobs`: the fine-tuning jobs of a server. */
export function build(command: Command, cli: Cli): void {
  addSettings(
    command
      .argument("[action]", ACTIONS.join(", "), "list")
      .argument("[job]", "id of a job, as list shows it"),
    schema,
  )
    .addHelpText(
      "after",
      examples([
        "lowrank jobs",
        "lowrank jobs follow ftjob-0123456789abcdef01234567",
        "lowrank jobs cancel ftjob-0123456789abcdef01234567 --url http://gpu-box:8080",
      ]),
    )
    .action((action: string, id: string | undefined) => run(action, id, command, cli));
}

async function run(given: string, id: string | undefined, command: Command, cli: Cli): Promise<void> {
  const { url, apiKey, json } = settingsOf(command, schema);
  const action = ACTIONS.find((name) => name === given);
  if (action === undefined) throw new UsageError(`expected one of ${ACTIONS.join(", ")}, got ${given}`);
  if ((action === "list") !== (id === undefined))
    throw new UsageError(
      action === "list" ? `list takes no job, got ${id}` : `missing: the id of a job to ${action}`,
    );
  const interrupts = watchInterrupts(() => undefined);
  const key = apiKey ?? (process.env.LOWRANK_API_KEY || null);
  const client = jobClient({ url, apiKey: key, signal: interrupts.signal });
  try {
    await act(client, action, id ?? "", json, cli);
  } catch (error) {
    if (!interrupts.signal.aborted) throw error;
    cli.exitCode = interrupts.exitCode; // the job goes on
  } finally {
    interrupts.dispose();
  }
}

async function act(client: JobClient, action: Action, id: string, isJson: boolean, cli: Cli): Promise<void> {
  const { out } = cli;
  const show = (job: JobObject): void => out.write(`${isJson ? JSON.stringify(job) : jobLine(job)}\n`);
  if (action === "list") for await (const job of client.list()) show(job);
  else if (action === "follow") {
    for await (const event of client.follow(id))
      out.write(`${isJson ? JSON.stringify(event) : eventLine(event)}\n`);
    const { status, fine_tuned_model, error } = await client.get(id);
    if (status !== "succeeded") cli.exitCode = EXIT.failed;
    if (!isJson) out.write(`${printable(`${status}: ${fine_tuned_model ?? error?.message ?? id}`)}\n`);
  } else show(await client.act(id, action));
}

/** "ftjob-…  succeeded  2026-11-28 18:40:12  ft:tiny:sums:…" */
function jobLine({ id, status, created_at, fine_tuned_model, error, model }: JobObject): string {
  const what = fine_tuned_model ?? error?.message.split("\n")[0] ?? model;
  return printable([pad(id, 30), pad(status, 9), time(created_at), what].join("  "));
}

function eventLine({ created_at, level, message }: EventObject): string {
  return printable(`${time(created_at)}  ${level === "info" ? "" : `${level}: `}${message}`);
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
}
