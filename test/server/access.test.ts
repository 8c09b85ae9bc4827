import { describe, expect, test } from "vitest";
import { isLoopback } from "../../src/server/access/access.ts";
import { findKey, parseKeys, sha256 } from "../../src/server/access/keys.ts";
import { createLimiter } from "../../src/server/access/limiter.ts";
import { jsonLog } from "../../src/server/log.ts";
import { errorIn, eventsOf, fakeServer, HELLO } from "./fake-engine.ts";

const CHAT = "/v1/chat/completions";
const KEY = "sk-0123456789abcdef";
const OTHER = "sk-fedcba9876543210";

function withKeys(...texts: string[]) {
  return { access: { keys: parseKeys(texts, "--api-key"), origins: [], isLocal: true } };
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("keys", () => {
  test("every route but health needs one; what is wrong says nothing of the right one", async () => {
    const { app, post, engine } = fakeServer({}, withKeys(KEY, `sha256:${sha256(OTHER).toString("hex")}`));
    for (const path of ["/healthz", "/readyz"]) expect((await app.request(path)).status).toBe(200);
    for (const path of ["/v1/models", "/metrics", "/openapi.json", "/", "/nowhere"])
      expect((await app.request(path)).status, path).toBe(401);
    const attempts = [
      "",
      `Bearer ${KEY}x`,
      "Bearer",
      `Basic ${KEY}`,
      KEY,
      `Bearer ${sha256(OTHER).toString("hex")}`,
    ];
    for (const authorization of attempts) {
      const response = await post(CHAT, HELLO, { authorization });
      expect(response.status, authorization).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await errorIn(response)).toMatchObject({
        code: "invalid_api_key",
        type: "authentication_error",
      });
    }
    expect(engine.asked).toEqual([]);
    for (const key of [KEY, OTHER]) expect((await post(CHAT, HELLO, bearer(key))).status).toBe(200);
  });

  test("wrong keys are all told at once, without being quoted", () => {
    const wrong = ["short", `${KEY};rpm=0`, `${KEY};speed=1`, "sha256:00", KEY, KEY];
    expect(() => parseKeys(wrong, "--api-key")).toThrow(
      /--api-key 1: .*--api-key 2: .*--api-key 3: .*--api-key 4: .*twice/s,
    );
    try {
      parseKeys(wrong, "--api-key");
    } catch (error) {
      expect(String(error)).not.toContain(KEY);
    }
  });

  test("a key is found among several by its hash", () => {
    const keys = parseKeys([KEY, `${OTHER};rpm=5;concurrent=2`], "k");
    expect(findKey(keys, OTHER)).toMatchObject({ requestsPerMinute: 5, concurrent: 2 });
    expect(findKey(keys, "")).toBeNull();
  });

  test("requests per minute: a burst, then evenly", () => {
    const [key] = parseKeys([`${KEY};rpm=2`], "k");
    let now = 0;
    const limiter = createLimiter(() => now);
    const enter = () => limiter.enter(key as NonNullable<typeof key>);
    enter();
    enter();
    expect(enter).toThrow("this key may make 2 requests per minute");
    now = 29_000;
    expect(enter).toThrow();
    now = 30_001;
    enter();
    expect(enter).toThrow();
  });

  test("requests at a time count until their streams have ended", async () => {
    const { post, engine } = fakeServer({ pieceMs: 5 }, withKeys(`${KEY};concurrent=1`, OTHER));
    const stream = await post(CHAT, { ...HELLO, stream: true }, bearer(KEY));
    const second = await post(CHAT, HELLO, bearer(KEY));
    expect(second.status).toBe(429);
    expect(second.headers.get("retry-after")).toBe("1");
    expect(await errorIn(second)).toMatchObject({ code: "rate_limit_exceeded" });
    expect((await post(CHAT, HELLO, bearer(OTHER))).status).toBe(200);
    await eventsOf(stream);
    expect((await post(CHAT, HELLO, bearer(KEY))).status).toBe(200);
    const left = await post(CHAT, { ...HELLO, stream: true }, bearer(KEY));
    await left.body?.cancel();
    expect((await post(CHAT, HELLO, bearer(KEY))).status).toBe(200);
    expect(engine.status.running).toBe(0);
  });
});

describe("browsers", () => {
  const allowing = { access: { keys: [], origins: ["https://app.example"], isLocal: true } };

  test("pages of other origins are refused, those of this server and of allowed origins not", async () => {
    const { post, engine } = fakeServer({}, allowing);
    for (const headers of [
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: "http://localhost:9999" },
      { "sec-fetch-site": "cross-site" },
    ]) {
      const response = await post(CHAT, HELLO, headers as Record<string, string>);
      expect(response.status, JSON.stringify(headers)).toBe(403);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
    expect(engine.asked).toEqual([]);
    expect((await post(CHAT, HELLO, { origin: "http://localhost" })).status).toBe(200);
    const allowed = await post(CHAT, HELLO, {
      origin: "https://app.example",
      "sec-fetch-site": "cross-site",
    });
    expect(allowed.status).toBe(200);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
  });

  test("a preflight is answered for allowed origins alone, and needs no key", async () => {
    const { app } = fakeServer({}, { access: { ...withKeys(KEY).access, origins: ["https://app.example"] } });
    const ask = (origin: string) =>
      app.request(CHAT, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
    expect((await ask("https://app.example")).headers.get("access-control-allow-methods")).toContain("POST");
    expect((await ask("https://evil.example")).status).toBe(403);
  });

  test("a name that was made to lead to this machine is not answered to", async () => {
    const { app } = fakeServer();
    for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1"])
      expect((await app.request(`http://${host}/v1/models`)).status, host).toBe(403);
    for (const host of ["localhost", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3"])
      expect((await app.request(`http://${host}/v1/models`)).status, host).toBe(200);
    const open = fakeServer({}, { access: { ...withKeys(KEY).access, isLocal: false } });
    const response = await open.app.request("http://models.example/v1/models", { headers: bearer(KEY) });
    expect(response.status).toBe(200);
  });

  test("addresses that only this machine reaches", () => {
    expect(["127.0.0.1", "localhost", "::1", "127.9.9.9"].every(isLoopback)).toBe(true);
    expect(["0.0.0.0", "::", "192.168.1.1", "localhost.example"].some(isLoopback)).toBe(false);
  });
});

describe("the log", () => {
  test("has a line per request, without texts and keys; no request writes a line of its own", async () => {
    const lines: string[] = [];
    const log = jsonLog((line) => lines.push(line));
    const { post } = fakeServer({ answer: () => ["SECRET-ANSWER"] }, { ...withKeys(KEY), log });
    const messages = [{ role: "user", content: "SECRET-PROMPT" }];
    const id = { "x-request-id": "req-1" };
    const response = await post(CHAT, { model: "tiny", messages }, { ...bearer(KEY), ...id });
    expect(response.headers.get("x-request-id")).toBe("req-1");
    const forged = await post(CHAT, { model: 'x\n{"level":"info"}', messages }, bearer(KEY));
    expect(forged.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    await post("/v1/%0aforged?key=SECRET", "{}", {
      ...bearer("SECRET-KEY-0123456789"),
      "x-request-id": "a b",
    });
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      {
        id: "req-1",
        method: "POST",
        path: CHAT,
        status: 200,
        model: "tiny",
        promptTokens: 3,
        completionTokens: 1,
      },
      { status: 404, error: "model_not_found" },
      { status: 401, error: "invalid_api_key" },
    ]);
    for (const line of lines) {
      expect(line.match(/\n/g)).toHaveLength(1);
      expect(line).not.toMatch(/SECRET/);
      expect(line).not.toContain(KEY);
    }
  });
});
