import { HttpError } from "../errors.ts";
import type { ApiKey } from "./keys.ts";

const MINUTE_MS = 60_000;

interface Usage {
  /** Requests that may be made now; grows by the rate, up to a minute's worth. */
  tokens: number;
  updatedMs: number;
  running: number;
}

/** Holds keys to their limits. */
export interface Limiter {
  /** Takes a request in; the result lets it out. @throws HttpError 429 beyond a limit */
  enter(key: ApiKey): () => void;
}

/** Requests per minute as a token bucket (a burst of a minute's worth, then evenly), and requests at a time. */
export function createLimiter(now: () => number = () => performance.now()): Limiter {
  const usage = new Map<ApiKey, Usage>();
  const usageOf = (key: ApiKey): Usage => {
    const known = usage.get(key);
    if (known) return known;
    const fresh = { tokens: key.requestsPerMinute ?? 0, updatedMs: now(), running: 0 };
    usage.set(key, fresh);
    return fresh;
  };
  return {
    enter(key) {
      const used = usageOf(key);
      if (key.concurrent !== null && used.running >= key.concurrent)
        throw tooMany(`this key may have ${key.concurrent} requests under way at a time`, 1);
      if (key.requestsPerMinute !== null) takeToken(used, key.requestsPerMinute, now());
      used.running++;
      return () => {
        used.running--;
      };
    },
  };
}

function takeToken(used: Usage, perMinute: number, nowMs: number): void {
  const grown = ((nowMs - used.updatedMs) / MINUTE_MS) * perMinute;
  used.tokens = Math.min(perMinute, used.tokens + grown);
  used.updatedMs = nowMs;
  if (used.tokens < 1) {
    const seconds = Math.ceil(((1 - used.tokens) / perMinute) * (MINUTE_MS / 1000));
    throw tooMany(`this key may make ${perMinute} requests per minute`, seconds);
  }
  used.tokens--;
}

function tooMany(message: string, afterSeconds: number): HttpError {
  return new HttpError(429, "rate_limit_exceeded", message, {
    type: "rate_limit_error",
    mayRetry: true,
    headers: { "retry-after": String(afterSeconds) },
  });
}
