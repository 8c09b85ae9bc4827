import type { Command } from "commander";
import { z } from "zod";
import { setting } from "../options/setting.ts";
import { COMBINATIONS } from "../peft/combine/combine.ts";
import { type Cli, examples } from "./command.ts";
import { UsageError } from "./errors.ts";
import { addSettings, settingsOf } from "./options.ts";

const HOW = "Combination";

const schema = z.strictObject({
  adapters: setting(
    z.record(z.string().min(1), z.number()),
    {},
    {
      group: HOW,
      value: "path=factor,…",
      description:
        "adapters (folders of PEFT or mlx-lm, run folders, .gguf files or Hub ids) and the factor of each",
      expects: "adapters and factors such as a=0.7,b=0.3",
    },
  ),
  kind: setting(z.enum(COMBINATIONS), "cat", {
    group: HOW,
    description: "how: cat and svd are exact sums of the updates, the others act on the factors",
    knownAs: ["combinationType"],
  }),
  density: setting(z.number().gt(0).max(1).nullable(), null, {
    group: HOW,
    value: "share",
    description: "share of values kept (ties, dare, magnitude-prune)",
  }),
  rank: setting(z.number().int().min(1).nullable(), null, {
    group: HOW,
    value: "n",
    description: "rank of the result (svd)",
    defaultText: "the largest",
    knownAs: ["svdRank"],
  }),
  seed: setting(z.number().int().min(0), 0, {
    group: HOW,
    value: "n",
    description: "seed of dare's random pruning",
  }),
  model: setting(z.string().min(1).nullable(), null, {
    group: HOW,
    value: "model",
    description: "base model that the adapters are for",
    defaultText: "the one that they name",
  }),
  offline: setting(z.boolean(), false, {
    group: HOW,
    description: "use the cache only, never the network",
  }),
  output: setting(z.string().min(1).nullable(), null, {
    group: HOW,
    value: "folder",
    description: "new folder to write the combined adapter to",
  }),
});

/** `lowrank combine`: several adapters as one. */
export function build(command: Command, cli: Cli): void {
  addSettings(command, schema)
    .addHelpText(
      "after",
      examples([
        "lowrank combine --adapters runs/a-1=0.7,runs/b-1=0.3 --output both",
        "lowrank combine --adapters runs/a-1=0.7,b.gguf=0.3 --model ./base --output both",
        "lowrank combine --adapters a=1,b=1 --kind ties --density 0.3 --output both",
      ]),
    )
    .action(() => action(command, cli));
}

async function action(command: Command, cli: Cli): Promise<void> {
  const { adapters, output, kind, density, rank, seed, model, offline } = settingsOf(command, schema);
  const missing = [
    Object.keys(adapters).length === 0 ? "--adapters" : "",
    output === null ? "--output" : "",
  ].filter(Boolean);
  if (output === null || missing.length > 0) throw new UsageError(`missing: ${missing.join(" and ")}`);
  const { combineFolders } = await import("../peft/combine/folders.ts");
  const options = {
    kind,
    seed,
    ...(density === null ? {} : { density }),
    ...(rank === null ? {} : { rank }),
  };
  const result = await combineFolders(adapters, output, options, {
    offline,
    ...(model === null ? {} : { model }),
  });
  cli.out.write(
    `combined ${Object.keys(adapters).length} adapters over ${result.modules} modules, rank ${result.rank}: ${output}\n`,
  );
}
