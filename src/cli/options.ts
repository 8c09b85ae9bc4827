import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { z } from "zod";
import { describeSettings, nearestSetting, resolveSettings, type SettingInfo } from "../options/setting.ts";
import { printable } from "./display/text.ts";
import { UsageError } from "./errors.ts";

/** Gives a command one flag per field of a schema: kebab-case names, grouped help with defaults, both forms of
 *  booleans, repeatable lists. Values stay unchecked until `settingsOf`. */
export function addSettings(command: Command, schema: z.ZodObject): Command {
  const infos = describeSettings(schema);
  for (const info of infos) for (const option of optionsOf(info)) command.addOption(option);
  command.showSuggestionAfterError(false);
  return command.configureOutput({
    outputError: (text, write) => write(printable(withSuggestion(text, infos))),
  });
}

/** What the user gave, by key, checked. @throws UsageError with every problem */
export function settingsOf<S extends z.ZodObject>(command: Command, schema: S): z.output<S> {
  const layer = { values: givenSettings(command, schema), where: (key: string) => flagOf(key, schema) };
  return UsageError.from(() => resolveSettings(schema, [layer], "the options do not hold:"));
}

/** Values of the flags that were given, by key, as the schema takes them; not checked. */
export function givenSettings(command: Command, schema: z.ZodObject): Record<string, unknown> {
  const given = describeSettings(schema).filter((info) => command.getOptionValueSource(info.key) === "cli");
  const entries = given.map(({ key }) => [key, command.getOptionValue(key)] as const);
  return Object.fromEntries(entries.map(([key, value]) => [key, value === NONE ? null : value]));
}

/** Stands for null in the options of commander, which takes null for a value that was left out and makes it "". */
const NONE = Symbol("none");

function flagOf(key: string, schema: z.ZodObject): string {
  return describeSettings(schema).find((info) => info.key === key)?.flag ?? key;
}

function optionsOf(info: SettingInfo): Option[] {
  const main = new Option(
    info.kind === "boolean" ? info.flag : `${info.flag} ${valueName(info)}`,
    helpText(info),
  );
  main.helpGroup(`${info.help.group}:`);
  if (info.kind !== "boolean")
    return [main.argParser((text, before) => parseValue(text, before, info) ?? NONE)];
  const negated = new Option(info.flag.replace("--", "--no-"), helpText(info)).helpGroup(
    `${info.help.group}:`,
  );
  return info.fallback === true ? [main.hideHelp(), negated] : [main, negated.hideHelp()];
}

function valueName(info: SettingInfo): string {
  const name = info.help.value ?? (info.choices ? "choice" : "value");
  return info.valueOptional ? `[${name}]` : `<${name}>`;
}

/** "learning rate after the warm-up (constant, linear, cosine; default: linear)" */
function helpText(info: SettingInfo): string {
  const { description, defaultText } = info.help;
  const fallback = defaultText ?? defaultOf(info);
  const notes = [info.choices?.join(", ") ?? "", fallback === "" ? "" : `default: ${fallback}`];
  const note = notes.filter((text) => text !== "").join("; ");
  return note === "" ? description : `${description} (${note})`;
}

function defaultOf({ fallback, kind }: SettingInfo): string {
  if (kind === "boolean" || fallback === undefined || fallback === null || fallback === false) return "";
  if (Array.isArray(fallback)) return fallback.join(",");
  return typeof fallback === "object" ? "" : String(fallback);
}

/** Text of a flag as the schema takes it. What does not parse stays text, for the schema to refuse. */
export function parseValue(text: string, before: unknown, info: SettingInfo): unknown {
  if (info.nullable && text === "none") return null;
  if (info.kind === "number") return numberOr(text);
  if (info.kind === "record")
    return parseRecord(text, info, (before as Record<string, unknown> | undefined) ?? {});
  const items = Array.isArray(before) ? before : [];
  if (info.kind === "list") return [...items, info.numericItems ? numberOr(text) : text];
  return text;
}

function numberOr(text: string): number | string {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) ? value : text;
}

/** "q_proj=16,layers.0=4" after what was given before; an item without "=" keeps its text as the value.
 *  @throws UsageError for a name that is given twice */
function parseRecord(
  text: string,
  { flag, numericItems }: SettingInfo,
  before: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const values = new Map(Object.entries(before));
  for (const item of splitItems(text)) {
    const at = item.lastIndexOf("=");
    const [key, value] = at < 0 ? [item, item] : [item.slice(0, at), item.slice(at + 1)];
    if (values.has(key.trim())) throw new UsageError(`${flag}: ${key.trim()} is given twice`);
    values.set(key.trim(), numericItems ? numberOr(value) : value);
  }
  return Object.fromEntries(values);
}

/** Items between commas. A key that is a path with commas is not cut. */
function splitItems(text: string): readonly string[] {
  const parts = text.split(",");
  const items: string[] = [];
  for (let from = 0; from < parts.length; ) {
    const keyUpTo = (to: number): string =>
      parts
        .slice(from, to)
        .join(",")
        .replace(/=[^=]*$/, "")
        .trim();
    let to = parts.length;
    while (to > from + 1 && !existsSync(keyUpTo(to))) to--;
    items.push(parts.slice(from, to).join(","));
    from = to;
  }
  return items;
}

/** Commander's message about an unknown flag, with the flag that was probably meant. */
function withSuggestion(text: string, infos: readonly SettingInfo[]): string {
  const unknown = /unknown option '--(?:no-)?([^'=]+)/.exec(text)?.[1];
  const guess = unknown === undefined ? undefined : nearestSetting(unknown, infos);
  return guess ? `${text.trimEnd()}; did you mean ${guess.flag}?\n` : text;
}
