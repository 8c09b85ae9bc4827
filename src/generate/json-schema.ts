import type { Problem } from "../errors.ts";

/** A JSON schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const ANNOTATIONS = [
  ...["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"],
  ...["$schema", "$comment", "$defs", "definitions"],
];
const OF_TYPE: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "format"],
  integer: ["minimum", "maximum"],
  number: [],
  boolean: [],
  null: [],
};
/** Of others the library knows some, but its ipv4 allows leading zeros. Days beyond a month's end it does not know. */
const FORMATS = ["date", "time", "date-time", "uuid"];
/** Longest list that may be asked for: each repetition is a part of the grammar. */
const MAX_REPEATS = 1_000;
const MAX_DEPTH = 32;
const MAX_NODES = 500;
/** Of the lengths of all texts: compiling takes some 30 ms for each character, and blocks. */
const MAX_LENGTHS = 64;

/** What the schemas of one answer have used of what may be asked for. */
export interface SchemaSize {
  nodes: number;
  lengths: number;
}

/** Everything in a schema that answers cannot be held to: keywords that the grammar library (`grammar.ts`) ignores, gets wrong, or stops at.
 *  A schema without problems gives answers that are JSON and fit it. `size`: that of the answer's other schemas, which this one is
 *  added to. */
export function schemaProblems(
  schema: unknown,
  where: string,
  size: SchemaSize = { nodes: 0, lengths: 0 },
): Problem[] {
  const problems: Problem[] = [];
  const say = (at: string, message: string): void => {
    problems.push({ where: at, message });
  };

  const visit = (node: unknown, at: string, depth: number): void => {
    if (++size.nodes === MAX_NODES + 1) say(where, `has more than ${MAX_NODES.toLocaleString("en")} schemas`);
    if (depth === MAX_DEPTH + 1) say(at, `is nested deeper than ${MAX_DEPTH}`);
    if (node === true || size.nodes > MAX_NODES || depth > MAX_DEPTH) return;
    if (!isRecord(node)) {
      say(at, `expected a schema, got ${shown(node)}`);
      return;
    }
    const allowed = [...ANNOTATIONS, ...keywordsOf(node, at, say)];
    for (const key of Object.keys(node))
      if (!allowed.includes(key)) say(`${at}.${key}`, "answers cannot be held to this here");
    checkValues(node, at, say);
    size.lengths += Number(node.maxLength ?? node.minLength ?? 0);
    if (node.$ref !== undefined && target(schema, node.$ref) === undefined)
      say(`${at}.$ref`, `expected "#/$defs/…" or "#/definitions/…" of this schema, got ${shown(node.$ref)}`);
    else if (isLoop(schema, node, [])) say(at, "stands for itself, with nothing in between");
    for (const [child, path] of childrenOf(node)) visit(child, `${at}.${path}`, depth + 1);
  };
  visit(schema, where, 0);
  if (size.lengths > MAX_LENGTHS)
    say(where, `lengths of texts add up to ${size.lengths}, of which ${MAX_LENGTHS} can be asked for`);
  return problems;
}

type Say = (at: string, message: string) => void;

/** The keywords that may stand in a schema of this kind. */
function keywordsOf(node: JsonSchema, at: string, say: Say): readonly string[] {
  if (node.$ref !== undefined) return ["$ref"];
  if (node.anyOf !== undefined) return ["anyOf"];
  if (node.const !== undefined) return ["const", "type"];
  if (node.enum !== undefined) return ["enum", "type"];
  if (node.type === undefined) return [];
  const types = [node.type].flat();
  const unknown = types.filter((type) => typeof type !== "string" || !Object.hasOwn(OF_TYPE, type));
  if (unknown.length > 0 || types.length === 0)
    say(`${at}.type`, `expected ${Object.keys(OF_TYPE).join(", ")}, got ${shown(node.type)}`);
  return ["type", ...types.flatMap((type) => OF_TYPE[String(type)] ?? [])];
}

function checkValues(node: JsonSchema, at: string, say: Say): void {
  const { properties, required, additionalProperties } = node;
  if (properties !== undefined && !isRecord(properties)) say(`${at}.properties`, "expected an object");
  const names = isRecord(properties) ? Object.keys(properties) : [];
  for (const name of names)
    if (JSON.stringify(name) !== `"${name}"` || name === "")
      say(`${at}.properties`, `a name that is empty or needs escapes cannot be asked for: ${shown(name)}`);
  if (required !== undefined && !(Array.isArray(required) && required.every((name) => names.includes(name))))
    say(`${at}.required`, `expected names of properties, got ${shown(required)}`);
  if (names.length > 0 && additionalProperties !== undefined && additionalProperties !== false)
    say(`${at}.additionalProperties`, "expected false where there are properties");
  for (const key of ["minItems", "maxItems", "minLength", "maxLength"]) {
    const n = node[key] ?? 0;
    if (!Number.isInteger(n) || (n as number) < 0 || (n as number) > MAX_REPEATS)
      say(`${at}.${key}`, `expected a whole number from 0 to ${MAX_REPEATS}, got ${shown(n)}`);
  }
  for (const [least, most] of [["minItems", "maxItems"] as const, ["minLength", "maxLength"] as const])
    if ((node[least] ?? 0) > (node[most] ?? MAX_REPEATS)) say(`${at}.${least}`, `is above ${most}`);
  if (node.prefixItems !== undefined && (node.minItems ?? node.maxItems) !== undefined)
    say(`${at}.prefixItems`, "cannot be asked for together with minItems or maxItems");
  if (node.format !== undefined) checkFormat(node, at, say);
  checkBounds(node, at, say);
  checkChoices(node, at, say);
}

function checkFormat({ format, minLength, maxLength }: JsonSchema, at: string, say: Say): void {
  if (!FORMATS.includes(format as string))
    say(`${at}.format`, `expected ${FORMATS.join(", ")}, got ${shown(format)}`);
  if ((minLength ?? maxLength) !== undefined)
    say(`${at}.format`, "cannot be asked for together with a length");
}

/** Bounds of numbers the library gets wrong, except those of every whole number, which zod writes. */
function checkBounds({ minimum, maximum }: JsonSchema, at: string, say: Say): void {
  const most = Number.MAX_SAFE_INTEGER;
  if ((minimum === undefined || minimum === -most) && (maximum === undefined || maximum === most)) {
    if ((minimum === undefined) === (maximum === undefined)) return;
  }
  say(at, `answers cannot be held to minimum and maximum here, except to ${-most} and ${most} together`);
}

function checkChoices(node: JsonSchema, at: string, say: Say): void {
  const choices = node.const === undefined ? node.enum : [node.const];
  if (node.anyOf !== undefined && !(Array.isArray(node.anyOf) && node.anyOf.length > 0))
    say(`${at}.anyOf`, "expected a list of schemas");
  if (choices === undefined) return;
  if (!Array.isArray(choices) || choices.length === 0) {
    say(`${at}.enum`, "expected a list of values");
    return;
  }
  const types = node.type === undefined ? null : [node.type].flat();
  const other = choices.find(
    (value) => types !== null && !typesOf(value).some((type) => types.includes(type)),
  );
  if (other !== undefined) say(at, `${shown(other)} is not of type ${shown(node.type)}`);
}

function typesOf(value: unknown): readonly string[] {
  if (value === null) return ["null"];
  if (Array.isArray(value)) return ["array"];
  return Number.isInteger(value) ? ["integer", "number"] : [typeof value];
}

/** Schemas inside of a schema, each with its path. */
function childrenOf(node: JsonSchema): [unknown, string][] {
  const named = ["properties", "$defs", "definitions"].flatMap((key) =>
    Object.entries(isRecord(node[key]) ? node[key] : {}).map(([name, child]): [unknown, string] => [
      child,
      `${key}.${name}`,
    ]),
  );
  const listed = ["anyOf", "prefixItems"].flatMap((key) =>
    (Array.isArray(node[key]) ? node[key] : []).map((child, i): [unknown, string] => [child, `${key}[${i}]`]),
  );
  const single = ["items", "additionalProperties"]
    .filter((key) => node[key] !== undefined && node[key] !== false)
    .map((key): [unknown, string] => [node[key], key]);
  return [...named, ...listed, ...single];
}

function target(root: unknown, ref: unknown): unknown {
  const [, group, name] = /^#\/(\$defs|definitions)\/([\w.-]+)$/.exec(String(ref)) ?? [];
  const all = isRecord(root) && group !== undefined ? root[group] : undefined;
  return isRecord(all) && Object.hasOwn(all, name as string) ? all[name as string] : undefined;
}

/** A schema leads to itself by references and alternatives alone: no text could ever be written for it. */
function isLoop(root: unknown, node: unknown, path: readonly unknown[]): boolean {
  if (path.includes(node)) return true;
  if (!isRecord(node)) return false;
  const next =
    node.$ref !== undefined ? [target(root, node.$ref)] : Array.isArray(node.anyOf) ? node.anyOf : [];
  return next.some((one) => isLoop(root, one, [...path, node]));
}

function isRecord(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 80);
}
