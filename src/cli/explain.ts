import type { Command } from "commander";
import { z } from "zod";
import type { ExplainOptions } from "../explain/explain.ts";
import { flagName, setting } from "../options/setting.ts";
import { type Cli, examples } from "./command.ts";
import { type LiveLine, liveLine } from "./display/live-line.ts";
import { UsageError } from "./errors.ts";
import { modelSettings, progressTo, warn } from "./model-settings.ts";
import { addSettings, givenSettings, settingsOf } from "./options.ts";

const ANALYSIS = "Analysis";
const SHRINK = "Smaller adapter";
const { anyBase, offline } = modelSettings;

const schema = z.strictObject({
  model: setting(z.string().min(1).nullable(), null, {
    group: "Model",
    value: "model",
    description: "the base model: an alias, a Hugging Face folder, a .gguf file or a Hub id",
    defaultText: "the one that the adapter names",
  }),
  anyBase,
  offline,
  base: setting(z.boolean(), true, {
    group: ANALYSIS,
    description: "do without the base's weights: no ‖W‖ and no amplification, and LoRA alone",
  }),
  ownDirections: setting(z.boolean(), true, {
    group: ANALYSIS,
    description: "do not project W on its own directions, which takes most of the time",
  }),
  directions: setting(z.number().int().min(1).nullable(), null, {
    group: ANALYSIS,
    value: "n",
    description: "leading directions of two adapters that are compared",
    defaultText: "8",
  }),
  html: setting(z.string().min(1).nullable(), null, {
    group: ANALYSIS,
    value: "file",
    description: "also write a page with all numbers and heat maps, which needs no network",
  }),
  shrink: setting(z.number().int().min(1).nullable(), null, {
    group: SHRINK,
    value: "rank",
    description: "write the adapter in fewer ranks instead: the best approximation of that rank",
  }),
  keep: setting(z.number().gt(0).max(1).nullable(), null, {
    group: SHRINK,
    value: "share",
    description: "the same with each module's smallest rank that keeps this share of its ‖ΔW‖²",
  }),
  output: setting(z.string().min(1).nullable(), null, {
    group: SHRINK,
    value: "folder",
    description: "new folder to write the smaller adapter to, in PEFT's format",
    knownAs: ["outputDir"],
  }),
});

type Choice = z.output<typeof schema>;

/** `lowrank explain`: what an adapter changes, in numbers, each with its control. */
export function build(command: Command, cli: Cli): void {
  command
    .argument(
      "<adapter>",
      "its folder (PEFT, mlx-lm), the run folder that holds it, a .gguf file or a Hub id",
    )
    .argument("[other]", "a second adapter of the same base, to compare with");
  addSettings(command, schema)
    .option("--json", "print as JSON")
    .addHelpText(
      "after",
      examples([
        "lowrank explain runs/shell-recipes-1",
        "lowrank explain runs/seed-1 runs/seed-2 --html alike.html",
        "lowrank explain adapter --no-base",
        "lowrank explain runs/shell-recipes-1 --shrink 4 --output smaller",
        "lowrank explain runs/shell-recipes-1 --keep 0.99 --output smaller",
      ]),
    )
    .action((adapter: string, other: string | undefined) => action(adapter, other ?? null, command, cli));
}

async function action(adapter: string, other: string | null, command: Command, cli: Cli): Promise<void> {
  const choice = settingsOf(command, schema);
  const isJson = command.opts<{ json?: boolean }>().json === true;
  const given = Object.keys(givenSettings(command, schema));
  const isShrinking = choice.shrink !== null || choice.keep !== null;
  const idle = given.filter((key) => IDLE[isShrinking ? "shrinking" : "explaining"].includes(key));
  const problems = [
    ...idle.map(
      (key) =>
        `${shownFlag(key)} has no effect ${isShrinking ? "on a smaller adapter" : "without --shrink or --keep"}`,
    ),
    ...(isShrinking && other !== null ? ["one adapter can be made smaller, got two"] : []),
    ...(isShrinking && choice.output === null
      ? ["missing: --output, the folder of the smaller adapter"]
      : []),
    ...(choice.shrink !== null && choice.keep !== null ? ["expected one of --shrink and --keep"] : []),
    ...(choice.directions !== null && other === null ? ["--directions has no effect with one adapter"] : []),
    ...(!choice.base && given.includes("ownDirections")
      ? ["--no-own-directions has no effect without the base"]
      : []),
  ];
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
  if (isShrinking) await shrink(adapter, choice, isJson, cli);
  else await explain(adapter, other, choice, isJson, cli);
}

/** A flag as it is given: what is on by default can only be switched off. */
function shownFlag(key: string): string {
  return ["base", "ownDirections"].includes(key) ? flagName(key).replace("--", "--no-") : flagName(key);
}

/** Options without an effect. */
const IDLE: Readonly<Record<"shrinking" | "explaining", readonly string[]>> = {
  shrinking: ["base", "ownDirections", "directions", "html", "anyBase"],
  explaining: ["output"],
};

async function shrink(adapter: string, choice: Choice, isJson: boolean, cli: Cli): Promise<void> {
  const { shrinkFolder } = await import("../peft/combine/shrink-folder.ts");
  const { shrunkText } = await import("./explain-text.ts");
  const { onProgress, close } = progressTo(cli);
  const output = choice.output as string;
  try {
    const how = choice.shrink === null ? { keep: choice.keep as number } : { rank: choice.shrink };
    const access = {
      offline: choice.offline,
      onProgress,
      ...(choice.model === null ? {} : { model: choice.model }),
    };
    const shrunk = await shrinkFolder(adapter, output, how, access);
    close();
    const { content: _content, ...numbers } = shrunk;
    cli.out.write(
      isJson ? `${JSON.stringify({ output, ...numbers }, null, 2)}\n` : shrunkText(shrunk, output),
    );
  } finally {
    close();
  }
}

async function explain(
  adapter: string,
  other: string | null,
  choice: Choice,
  isJson: boolean,
  cli: Cli,
): Promise<void> {
  const { explainAdapter } = await import("../explain/explain.ts");
  const { textOf } = await import("./explain-text.ts");
  const { onProgress, close } = progressTo(cli);
  const modules = moduleProgress(cli, close);
  try {
    const explanation = await explainAdapter(adapter, {
      ...optionsOf(choice, other),
      onProgress,
      onModule: modules.show,
    });
    close();
    modules.stop();
    warn(cli, [...explanation.notes, ...(explanation.comparison?.notes ?? [])]);
    if (choice.html !== null) {
      const { writeExplanation } = await import("../explain/page.ts");
      await writeExplanation(choice.html, explanation);
    }
    cli.out.write(
      isJson ? `${JSON.stringify(explanation, null, 2)}\n` : textOf(explanation, cli.out.columns()),
    );
    if (choice.html !== null && !isJson) cli.out.write(`\nPage  ${choice.html}\n`);
  } finally {
    close();
    modules.stop();
  }
}

function optionsOf(
  { model, anyBase, offline, base, ownDirections, directions }: Choice,
  other: string | null,
): ExplainOptions {
  return {
    ...{ anyBase, offline, base, ownDirections },
    ...(model === null ? {} : { model }),
    ...(other === null ? {} : { other }),
    ...(directions === null ? {} : { directions }),
  };
}

/** A bar on a terminal; silent elsewhere. */
function moduleProgress(
  { err }: Cli,
  before: () => void,
): { readonly show: (done: number, total: number, path: string) => void; readonly stop: () => void } {
  let live: LiveLine | null = null;
  const stop = (): void => {
    live?.stop();
    live = null;
  };
  const show = (done: number, total: number, path: string): void => {
    if (!err.isLive) return;
    if (live === null) before();
    live ??= liveLine(err);
    live.update(done / total, `${done}/${total} ${path}`);
    if (done === total) stop();
  };
  return { show, stop };
}
