import { extname } from "node:path";
import { dataExtensions } from "../../data/records.ts";
import { refusal } from "../body.ts";

export const PURPOSE = "fine-tune";

/** OpenAI's bounds of a file's lifetime: an hour, 30 days. */
export const LIFETIME_SECONDS = { min: 3600, max: 2_592_000 } as const;

/** What a form held. */
export interface Form {
  readonly fields: Map<string, string>;
  file: { readonly filename: string; readonly bytes: number } | null;
}

/** A file that can be kept. */
export interface Upload {
  readonly filename: string;
  /** With the dot. */
  readonly extension: string;
  readonly bytes: number;
  /** After which it is deleted; null: never. */
  readonly lifetimeSeconds: number | null;
}

type Problems = { where: string; message: string }[];

/** @throws HttpError 400 with everything that is wrong */
export function checkedForm({ fields, file }: Form): Upload {
  const problems: Problems = [];
  const purpose = fields.get("purpose");
  if (file === null) problems.push({ where: "file", message: "is missing" });
  else if (file.bytes === 0) problems.push({ where: "file", message: "is empty" });
  if (purpose !== PURPOSE)
    problems.push({ where: "purpose", message: `expected "${PURPOSE}", got ${shown(purpose)}` });
  const lifetimeSeconds = lifetimeIn(fields, problems);
  for (const name of fields.keys())
    if (name !== "purpose" && !EXPIRY.includes(name))
      problems.push({ where: name, message: "there is no such field" });
  const extension = extname(file?.filename ?? "").toLowerCase();
  if (file !== null && !dataExtensions.includes(extension))
    problems.push({ where: "file", message: `expected a name that ends in ${dataExtensions.join(", ")}` });
  if (file === null || problems.length > 0) throw refusal(problems);
  return { ...file, extension, lifetimeSeconds };
}

const [ANCHOR, SECONDS] = ["expires_after[anchor]", "expires_after[seconds]"];
const EXPIRY: readonly string[] = [ANCHOR, SECONDS];

function lifetimeIn(fields: Form["fields"], problems: Problems): number | null {
  if (!EXPIRY.some((name) => fields.has(name))) return null;
  const [anchor, text] = [fields.get(ANCHOR), fields.get(SECONDS)];
  if (anchor !== "created_at")
    problems.push({ where: ANCHOR, message: `expected "created_at", got ${shown(anchor)}` });
  const { min, max } = LIFETIME_SECONDS;
  const seconds = /^\d+$/.test(text ?? "") ? Number(text) : Number.NaN;
  if (!(seconds >= min && seconds <= max))
    problems.push({ where: SECONDS, message: `expected a number from ${min} to ${max}, got ${shown(text)}` });
  return seconds;
}

function shown(value: string | undefined): string {
  return value === undefined ? "none" : JSON.stringify(value);
}
