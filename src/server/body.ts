import type { z } from "zod";
import type { Problem } from "../errors.ts";
import { parseJsonObject } from "../io/json.ts";
import { nearest } from "../options/setting.ts";
import { HttpError } from "./errors.ts";

/** The body of a request, checked. @throws HttpError 415, 413 for more than `maxBytes`, or 400 with everything that is wrong */
export async function readBody<S extends z.ZodType>(
  request: Request,
  schema: S,
  maxBytes: number,
): Promise<z.output<S>> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    const got = type === "" ? "none" : type.slice(0, 100);
    throw new HttpError(415, "unsupported_media_type", `expected content-type application/json, got ${got}`);
  }
  const value = parseJsonObject(await bytesOf(request, maxBytes), "the body");
  return checked(value, schema);
}

/** What a body holds; of one that is larger, or says that it is, no more is read. */
async function bytesOf(request: Request, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (): HttpError =>
    new HttpError(413, "request_too_large", `the body is larger than ${maxBytes} bytes, the limit`, {
      headers: { connection: "close" }, // the rest of it is not read
    });
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > maxBytes) throw tooLarge(); // leaving the loop cancels the body
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** A value of a request under its schema. @throws HttpError 400 with everything that is wrong */
export function checked<S extends z.ZodType>(value: unknown, schema: S): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw refusal(result.error.issues.flatMap((issue) => problemsOf(issue, schema)));
}

/** A request with several things wrong, told together. */
export function refusal(problems: readonly Problem[]): HttpError {
  const shown = problems.slice(0, MAX_SHOWN).map((p) => `${p.where}: ${p.message}`);
  const more = problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [];
  const param = problems.length === 1 ? (problems[0]?.where ?? null) : null;
  return new HttpError(400, "invalid_value", [...shown, ...more].join("; "), { param });
}

const MAX_SHOWN = 10;

function problemsOf(issue: z.core.$ZodIssue, schema: z.ZodType): Problem[] {
  const at = placeOf(issue.path);
  if (issue.code === "unrecognized_keys") {
    const known = issue.path.length === 0 && "shape" in schema ? Object.keys(schema.shape as object) : [];
    return issue.keys.map((key) => ({ where: placeOf([...issue.path, key]), message: unknown(key, known) }));
  }
  if (issue.code === "invalid_union") return unionProblems(issue, at, schema);
  return [{ where: at, message: readable(issue.message) }];
}

function unknown(key: string, known: readonly string[]): string {
  const guess = nearest(key, known);
  return `there is no such field${guess === undefined ? "" : `; did you mean ${guess}?`}`;
}

/** Of alternatives, what is wrong with the one that was meant: its fault lies deepest. */
function unionProblems(issue: z.core.$ZodIssueInvalidUnion, at: string, schema: z.ZodType): Problem[] {
  const depth = (issues: readonly z.core.$ZodIssue[]): number =>
    Math.max(0, ...issues.map((i) => i.path.length + (i.code === "unrecognized_keys" ? 1 : 0)));
  const [deepest] = [...issue.errors].sort((a, b) => depth(b) - depth(a));
  if (deepest === undefined || depth(deepest) === 0) {
    const all = issue.errors.flat().map((i) => readable(i.message));
    return [
      { where: at, message: all.length > 0 ? [...new Set(all)].join(", or ") : readable(issue.message) },
    ];
  }
  return deepest.flatMap((inner) => problemsOf({ ...inner, path: [...issue.path, ...inner.path] }, schema));
}

function placeOf(path: readonly PropertyKey[]): string {
  const parts = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
  return parts.join("").replace(/^\./, "").slice(0, 200) || "the body";
}

/** Zod's message in this project's words: "expected number, got string". */
function readable(message: string): string {
  return message
    .replace(/^(Invalid input|Too small|Too big|Invalid string): /, "")
    .replace("received", "got");
}
