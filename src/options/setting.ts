import { z } from "zod";
import { InputError, type Problem } from "../errors.ts";

/** One option: whatever the input (flag text, file value, API value), the checked value is a T. */
export type Setting<T> = z.ZodType<T, unknown>;

/** What people read about an option. */
export interface SettingHelp {
  /** Heading in the help text. */
  readonly group: string;
  readonly description: string;
  /** Name of the value in the help text, e.g. "n". */
  readonly value?: string;
  /** What is expected, where the type alone does not say it. */
  readonly expects?: string;
  /** How the default reads where the value itself does not say it. */
  readonly defaultText?: string;
  /** Names of this option in other tools: only for suggestions. */
  readonly knownAs?: readonly string[];
  /** A resumed run may be given another value (it does not change the numbers). */
  readonly mayChangeOnResume?: boolean;
}

/** An option with its default and help: one line is one flag, one config-file key and one field. */
export function setting<T>(type: z.ZodType<T>, fallback: T, help: SettingHelp): Setting<T> {
  return type.default(fallback as z.util.NoUndefined<T>).meta({ ...help });
}

/** A setting for every field of an interface: so options are an interface, whose fields say what they are, and what people read of
 *  them stands with their owner. */
export type SettingsOf<T> = { readonly [K in keyof T]-?: Setting<T[K]> };

/** Of kinds that have options of their own, the names of those that have one. */
export function ownersOf(
  kinds: readonly { readonly name: string; readonly settings: object }[],
  option: string,
): readonly string[] {
  return kinds.filter(({ settings }) => Object.hasOwn(settings, option)).map(({ name }) => name);
}

/** How an option is given as text. */
export type SettingKind = "boolean" | "number" | "text" | "list" | "record";

/** An option as the command line and the help need it. All derived from the schema. */
export interface SettingInfo {
  /** Config-file key and field name, camelCase. */
  readonly key: string;
  /** `--kebab-case`. */
  readonly flag: string;
  readonly kind: SettingKind;
  readonly nullable: boolean;
  /** The flag may stand without a value (a text or true). */
  readonly valueOptional: boolean;
  /** Values of a record and items of a list are numbers. */
  readonly numericItems: boolean;
  readonly choices: readonly string[] | null;
  /** "a whole number from 1 to 4096" */
  readonly expects: string;
  readonly fallback: unknown;
  readonly help: SettingHelp;
}

/** What z.toJSONSchema gives for one option; only what is read here. */
interface Node {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Node[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly items?: Node;
  readonly additionalProperties?: Node;
}

type Described = Node & SettingHelp;

/** `learningRate` → `--learning-rate`. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Every option of an object schema, in its order. */
export function describeSettings(schema: z.ZodObject): readonly SettingInfo[] {
  const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return Object.entries(json.properties ?? {}).map(([key, node]) =>
    describe(key, node as unknown as Described, fallbackOf(schema, key)),
  );
}

function describe(key: string, node: Described, fallback: unknown): SettingInfo {
  const all = alternatives(node);
  const has = (type: string): boolean => all.some((a) => a.type === type);
  const values = all.filter((a) => a.type !== "null");
  const choices = values.flatMap((a) => (a.enum ?? (a.const === undefined ? [] : [a.const])) as string[]);
  const kind = has("string") ? "text" : ((KINDS[String(values[0]?.type)] ?? "text") as SettingKind);
  const inner = values.find((a) => a.type === "array" || a.type === "object");
  return {
    key,
    flag: flagName(key),
    kind,
    nullable: has("null"),
    valueOptional: kind === "text" && has("boolean"),
    numericItems: /integer|number/.test(String((inner?.items ?? inner?.additionalProperties)?.type)),
    choices: choices.length > 0 ? choices : null,
    expects: node.expects ?? all.map(expectation).join(" or "),
    fallback,
    help: node,
  };
}

/** The default as a checked value; undefined for an option that must be given. */
function fallbackOf(schema: z.ZodObject, key: string): unknown {
  return z.safeParse(schema.shape[key] as z.ZodType, undefined).data;
}

const KINDS: Readonly<Record<string, SettingKind>> = {
  boolean: "boolean",
  integer: "number",
  number: "number",
  array: "list",
  object: "record",
};

function alternatives(node: Node): readonly Node[] {
  if (node.anyOf) return node.anyOf.flatMap(alternatives);
  return Array.isArray(node.type) ? node.type.map((type) => ({ type })) : [node];
}

function expectation(node: Node): string {
  if (node.enum) return `one of ${node.enum.join(", ")}`;
  if (node.const !== undefined) return String(node.const);
  if (node.type === "integer") return `a whole number${range(node)}`;
  if (node.type === "number") return `a number${range(node)}`;
  return NOUNS[String(node.type)] ?? "a value";
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "a text",
  boolean: "true or false",
  array: "a list",
  object: "a table of names and values",
  null: "none",
};

function range(node: Node): string {
  const limits = [
    bound("≥", node.minimum),
    bound(">", node.exclusiveMinimum),
    bound("≤", node.maximum),
    bound("<", node.exclusiveMaximum),
  ].filter((limit) => limit !== "");
  return limits.length > 0 ? ` ${limits.join(" and ")}` : "";
}

function bound(sign: string, limit: number | undefined): string {
  const stated = limit !== undefined && Math.abs(limit) < Number.MAX_SAFE_INTEGER;
  return stated ? `${sign} ${limit}` : "";
}

/** Values from one place (flags, a file, an API call) and how to name that place in an error. */
export interface Layer {
  readonly values: Readonly<Record<string, unknown>>;
  /** Nobody stated it for this run: what a run wrote down, the quick start. It may hold options without an effect. */
  readonly isImplied?: boolean;
  /** "--rank", "run.yaml:3: rank" */
  where(key: string): string;
}

/** Further rules over valid values; `where` names the place a key came from, `isGiven` whether somebody stated it for this run. */
export type Check<T> = (
  values: T,
  where: (key: string) => string,
  isGiven: (key: string) => boolean,
) => Problem[];

/** Layers under one schema, the first layer winning. Every problem of every layer is in the one error.
 *  @throws InputError */
export function resolveSettings<S extends z.ZodObject>(
  schema: S,
  layers: readonly Layer[],
  title: string,
  check: Check<z.output<S>> = () => [],
): z.output<S> {
  const infos = describeSettings(schema);
  const known = new Map(infos.map((info) => [info.key, info]));
  const problems = layers.flatMap((layer) => unknownKeys(layer, infos));
  const given = mergeLayers(layers, known);
  const input = Object.fromEntries([...given].map(([key, { value }]) => [key, value]));
  const where = (key: string): string => given.get(key)?.layer.where(key) ?? key;
  const result = schema.safeParse(input);
  if (!result.success) problems.push(...issues(result.error, input, known, where));
  else
    problems.push(
      ...check(result.data, where, (key) => given.has(key) && given.get(key)?.layer.isImplied !== true),
    );
  if (problems.length > 0) throw new InputError(title, problems);
  return result.data as z.output<S>;
}

function mergeLayers(
  layers: readonly Layer[],
  known: ReadonlyMap<string, SettingInfo>,
): Map<string, { layer: Layer; value: unknown }> {
  const merged = new Map<string, { layer: Layer; value: unknown }>();
  for (const layer of layers)
    for (const [key, value] of Object.entries(layer.values))
      if (value !== undefined && known.has(key) && !merged.has(key)) merged.set(key, { layer, value });
  return merged;
}

function unknownKeys(layer: Layer, infos: readonly SettingInfo[]): Problem[] {
  return Object.keys(layer.values)
    .filter((key) => layer.values[key] !== undefined && !infos.some((info) => info.key === key))
    .map((key) => {
      const guess = nearestSetting(key, infos);
      const hint = guess ? `; did you mean ${guess.key}?` : "";
      return { where: layer.where(key), message: `there is no such option${hint}` };
    });
}

function issues(
  error: z.ZodError,
  input: Readonly<Record<string, unknown>>,
  known: ReadonlyMap<string, SettingInfo>,
  where: (key: string) => string,
): Problem[] {
  const keys = new Set(error.issues.map((issue) => String(issue.path[0])));
  return [...keys].map((key) => {
    const own = error.issues.find((issue) => issue.path[0] === key && issue.code === "custom");
    const got = JSON.stringify(input[key]) ?? "nothing";
    const message = own?.message ?? `expected ${known.get(key)?.expects ?? "another value"}, got ${got}`;
    return { where: where(key), message };
  });
}

/** The option that was probably meant, also by its name in other tools; undefined where nothing is near. */
export function nearestSetting(name: string, infos: readonly SettingInfo[]): SettingInfo | undefined {
  const names = infos.flatMap((info) => [info.key, ...(info.help.knownAs ?? [])].map((n) => ({ n, info })));
  const best = nearest(
    name,
    names.map(({ n }) => n),
  );
  return names.find(({ n }) => n === best)?.info;
}

/** The candidate that differs least from `name`, case and separators aside; undefined where none is near. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const bare = (text: string): string => text.toLowerCase().replace(/[-_.\s]/g, "");
  const scored = candidates.map((candidate) => ({
    candidate,
    distance: editDistance(bare(name), bare(candidate)),
  }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(1, Math.floor(bare(name).length / 3)) ? best.candidate : undefined;
}

/** Levenshtein distance with adjacent swaps counted once. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      rows[i]![j] = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, substituted, swapped);
    }
  }
  return at(a.length, b.length);
}
