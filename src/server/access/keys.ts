import { createHash, timingSafeEqual } from "node:crypto";
import { InputError, type Problem } from "../../errors.ts";

/** A key that opens the server, known by its hash, with its limits. */
export interface ApiKey {
  /** SHA-256 of the key. */
  readonly hash: Buffer;
  /** First characters of the hash, for logs. */
  readonly label: string;
  /** null: not limited. */
  readonly requestsPerMinute: number | null;
  readonly concurrent: number | null;
}

/** Shorter ones can be guessed over a network. */
const MIN_KEY_LENGTH = 16;
const LIMITS: Readonly<Record<string, "requestsPerMinute" | "concurrent">> = {
  rpm: "requestsPerMinute",
  concurrent: "concurrent",
};

export function sha256(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}

/** Keys of `KEY[;rpm=n][;concurrent=n]`, where KEY may be `sha256:` and the hash of a key in hex. No message quotes one.
 *  @throws InputError with every problem */
export function parseKeys(texts: readonly string[], where: string): ApiKey[] {
  const problems: Problem[] = [];
  const keys = texts.map((text, i) => parseKey(text, `${where} ${i + 1}`, problems));
  const twice = keys.filter((key, i) => keys.findIndex((k) => k.hash.equals(key.hash)) !== i);
  if (twice.length > 0) problems.push({ where, message: "the same key is given twice" });
  if (problems.length > 0) throw new InputError("the keys cannot be used:", problems);
  return keys;
}

function parseKey(text: string, where: string, problems: Problem[]): ApiKey {
  const [key = "", ...settings] = text.trim().split(";");
  const limits = { requestsPerMinute: null as number | null, concurrent: null as number | null };
  for (const setting of settings) {
    const [, name = "", number = ""] = /^\s*(\w+)=(\d+)\s*$/.exec(setting) ?? [];
    const field = Object.hasOwn(LIMITS, name) ? LIMITS[name] : undefined;
    if (field === undefined || Number(number) < 1)
      problems.push({ where, message: "expected rpm=n or concurrent=n (n ≥ 1) behind each ;" });
    else limits[field] = Number(number);
  }
  const hashed = /^sha256:([0-9a-f]{64})$/i.exec(key)?.[1];
  if (hashed === undefined && key.length < MIN_KEY_LENGTH)
    problems.push({ where, message: `expected at least ${MIN_KEY_LENGTH} characters, got ${key.length}` });
  if (hashed === undefined && key.startsWith("sha256:"))
    problems.push({ where, message: "expected 64 hex digits behind sha256:" });
  const hash = hashed === undefined ? sha256(key) : Buffer.from(hashed, "hex");
  return { hash, label: hash.toString("hex").slice(0, 8), ...limits };
}

/** The key that a text is; null for none. The time does not tell which, nor how much of it was right: hashes of equal length are compared
 *  as a whole, all of them. */
export function findKey(keys: readonly ApiKey[], text: string): ApiKey | null {
  const hash = sha256(text);
  return keys.reduce<ApiKey | null>((found, key) => (timingSafeEqual(key.hash, hash) ? key : found), null);
}
