import type { Command } from "commander";
import { z } from "zod";
import { setting } from "../options/setting.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { importPush } from "./library.ts";
import { modelSettings, progressTo, warn } from "./model-settings.ts";
import { addSettings, settingsOf } from "./options.ts";

const HUB = "Hub";

const schema = z.strictObject({
  to: setting(z.string().min(1).nullable(), null, {
    group: HUB,
    value: "user/name",
    description: "repository, made where it is not there",
    knownAs: ["repoId"],
  }),
  private: setting(z.boolean(), false, {
    group: HUB,
    description: "make the repository private",
    defaultText: "as the account makes them",
  }),
  revision: setting(z.string().min(1), "main", {
    group: HUB,
    value: "branch",
    description: "branch to write to",
    knownAs: ["branch"],
  }),
  message: setting(z.string().min(1).nullable(), null, {
    group: HUB,
    value: "text",
    description: "message of the commit",
    defaultText: "a plain one",
    knownAs: ["commitMessage"],
  }),
  offline: modelSettings.offline,
});

/** `lowrank push`: an adapter or a merged model to the Hub. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .argument("<folder>", "adapter, run or merged model folder")
    .addHelpText(
      "after",
      `${examples([
        "lowrank push runs/us-addresses-1 --to me/us-addresses --private",
        "lowrank push merged --to me/shell-model --revision v2 --message 'second try'",
      ])}\n\nHF_TOKEN holds a token with write access; HF_ENDPOINT another address than the public Hub's.`,
    )
    .action((folder: string) => action(folder, command, cli));
}

async function action(folder: string, command: Command, cli: Cli): Promise<void> {
  const { to, private: isPrivate, revision, message, offline } = settingsOf(command, schema);
  if (to === null) throw new UsageError("missing: --to");
  const progress = progressTo(cli);
  try {
    const push = await importPush();
    const { onProgress } = progress;
    const rest = { ...(isPrivate ? { private: true } : {}), ...(message === null ? {} : { message }) };
    const result = await push({ folder, to, revision, offline, onProgress, ...rest });
    progress.close();
    warn(cli, result.warnings);
    const what = result.isNew ? "made the repository and uploaded" : "uploaded";
    cli.out.write(`${what} ${result.files.length} files (${result.files.join(", ")}): ${result.url}\n`);
  } finally {
    progress.close();
  }
}
