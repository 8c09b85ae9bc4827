import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { followable, hubUrlOf, tokenOf } from "../../src/hub/address.ts";
import { hubApiFetch } from "../../src/hub/http.ts";
import { fetchAdapter, fetchModel } from "../../src/hub/models.ts";
import type { HubOptions } from "../../src/hub/repo.ts";
import { failure } from "../formats/fixtures.ts";
import { COMMIT } from "./server.ts";

/** What the server answers where it does not answer as the Hub does. */
type Fault = (request: IncomingMessage, response: ServerResponse, server: string) => boolean;

let server: Server;
let url: string;
let fault: Fault;
let cache: string;
let options: HubOptions;
const requests: { readonly path: string; readonly authorization: string | undefined }[] = [];

const content = Buffer.from('{"base_model_name_or_path": "org/base"}');
const entry = (path: string, more: object = {}): object => ({
  ...{ type: "file", path, size: content.length, oid: "a".repeat(40) },
  ...more,
});
let entries: object[] = [];

function serve(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url ?? "";
  requests.push({ path, authorization: request.headers.authorization });
  if (fault(request, response, url)) return;
  if (path.includes("/revision/")) response.end(JSON.stringify({ _id: "1", id: "org/name", sha: COMMIT }));
  else if (path.includes("/tree/")) response.end(JSON.stringify(entries));
  else response.end(content);
}

beforeEach(async () => {
  server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  cache = await mkdtemp(join(tmpdir(), "lowrank-hostile-"));
  options = { hubUrl: url, hubCacheDir: cache, retryMs: 1, slowWindowMs: 40, totalTimeoutMs: 3000 };
  fault = () => false;
  entries = [entry("adapter_config.json"), entry("adapter_model.safetensors")];
  requests.length = 0;
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", "");
});
afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(cache, { recursive: true, force: true });
});

const id = { name: "org/name", revision: null, file: null };

async function messageOf(
  fetching: () => Promise<unknown> = () => fetchAdapter(id, options),
): Promise<string> {
  const error = await failure(fetching());
  expect(error).toBeInstanceOf(LowrankError);
  return error.message;
}

/** Answers requests whose path has `part` by `answer`. */
function at(part: string, answer: (response: ServerResponse, request: IncomingMessage) => void): void {
  fault = (request, response) => {
    const isIt = request.url?.includes(part) ?? false;
    if (isIt) answer(response, request);
    return isIt;
  };
}

describe("an answer without end", () => {
  it("a small one that unpacks to 200 MB", async () => {
    const bomb = gzipSync(Buffer.alloc(200e6, " "));
    at("/revision/", (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(bomb));
    expect(await messageOf()).toMatch(/^the answer of 127\.0\.0\.1:\d+ is larger than 52428800 bytes$/);
  });

  it("one that goes on and on, and one that takes its time", async () => {
    at("/revision/", (response) => {
      const more = (): unknown => response.write(Buffer.alloc(1e6, '"a",')) && setImmediate(more);
      response.on("drain", more);
      more();
    });
    expect(await messageOf()).toMatch(/larger than|takes longer than/);
    options = { ...options, totalTimeoutMs: 100, slowWindowMs: 1e6 };
    at("/revision/", (response) => {
      const timer = setInterval(() => response.write(" "), 10);
      response.on("close", () => clearInterval(timer));
    });
    expect(await messageOf()).toMatch(/takes longer than 0\.1 s$/);
  });

  it("a file that drips is given up, and not tried again", async () => {
    at("/resolve/", (response) => {
      const timer = setInterval(() => response.write("{"), 10);
      response.on("close", () => clearInterval(timer));
    });
    expect(await messageOf()).toMatch(
      /org\/name: adapter_config\.json: .* sends less than 1000 bytes a second; what arrived is kept/,
    );
    expect(requests.filter(({ path }) => path.includes("/resolve/"))).toHaveLength(1);
  });

  it("pages that repeat, and pages that are ever new", async () => {
    let page = 0;
    at("/tree/", (response) => {
      const link = `<${url}/api/models/org/name/tree/${COMMIT}?cursor=${page++}>; rel="next"`;
      response.writeHead(200, { link }).end(JSON.stringify(entries));
    });
    expect(await messageOf()).toMatch(/does not end: a page holds nothing that those before did not$/);
    at("/tree/", (response) => {
      const link = `<${url}/api/models/org/name/tree/${COMMIT}?cursor=${page++}>; rel="next"`;
      response.writeHead(200, { link }).end(JSON.stringify([entry(`file-${page}`)]));
    });
    expect(await messageOf()).toMatch(/does not end: (1000 pages|it takes longer)/);
  });

  it("an error's text is cut, and kept on one line", async () => {
    at("/revision/", (response) => {
      response.writeHead(418);
      const more = (): unknown => response.write(`\u001b[31m\r\n${"x".repeat(1e5)}`) && setImmediate(more);
      response.on("drain", more).on("error", () => undefined);
      more();
    });
    const message = await messageOf();
    expect(message).toMatch(/^the Hub answered 418 for org\/name: \[31m x+; try again later$/);
    expect(message.length).toBeLessThan(400);
  });
});

describe("answers that are none", () => {
  it.each([
    "",
    "{",
    "null",
    "[]",
    "7",
    '"text"',
    "\u0000\u0001",
    '{"sha": 7}',
    `{"sha": "${"a".repeat(1e6)}"}`,
  ])("to what a revision is: %.20j", async (body) => {
    at("/revision/", (response) => response.end(body));
    const message = await messageOf();
    expect(message).toMatch(/does not answer like the Hub|is not a commit/);
    expect(message.length).toBeLessThan(400);
  });

  it.each(["", "{", "null", "[null]", "7", "\u0000\u0001"])("to what files there are: %j", async (body) => {
    at("/tree/", (response) => response.end(body));
    expect(await messageOf()).toMatch(/does not answer like the Hub|has no file adapter_config\.json/);
  });

  it.each([
    [{ size: -1 }, /the Hub gave the size -1/],
    [{ size: "x" }, /the Hub gave the size "x"/],
    [{ size: 1e16 }, /the Hub gave the size|has 10000000000000000 bytes, the limit/],
    [{ size: 3e9 }, /has 3000000000 bytes, the limit for such a file is 16777216$/],
    [{ oid: "../../x" }, /the Hub gave the content id "\.\.\/\.\.\/x"$/],
    [{ oid: null }, /the Hub gave the content id null$/],
  ])("entries of the list: %j", async (more, message) => {
    entries = [entry("adapter_config.json", more), entry("adapter_model.safetensors")];
    expect(await messageOf()).toMatch(message);
  });

  it.each(["", "{", "null", "[]", "\u0000\u0001"])("an index of shards: %j", async (body) => {
    const bytes = Buffer.from(body);
    const names = ["config.json", "tokenizer.json", "model.safetensors.index.json"];
    entries = names.map((name) => entry(name, { size: bytes.length, oid: undefined, lfs: undefined }));
    const { createHash } = await import("node:crypto");
    const oid = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    entries = names.map((name) => entry(name, { size: bytes.length, oid }));
    at("/resolve/", (response) => response.end(bytes));
    expect(await messageOf(() => fetchModel(id, options))).toMatch(/model\.safetensors\.index\.json: /);
  });
});

describe("being sent elsewhere", () => {
  it("ends after five redirects", async () => {
    at("/revision/", (response, request) => response.writeHead(307, { location: request.url ?? "" }).end());
    expect(await messageOf()).toMatch(/redirects more than 5 times$/);
    expect(requests).toHaveLength(6);
  });

  it("does not take the token along", async () => {
    const seen: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify({ _id: "1", id: "org/name", sha: COMMIT }));
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/x`;
    at("/revision/", (response) => response.writeHead(302, { location }).end());
    await failure(fetchAdapter(id, { ...options, token: "hf_secret" }));
    other.close();
    expect(seen).toEqual([undefined]);
    expect(requests[0]?.authorization).toBe("Bearer hf_secret");
    const get = hubApiFetch("org/name", { ...options, token: "hf_secret" });
    await get(`${url}/tree/`, { headers: { authorization: "Bearer hf_secret" } });
    expect(requests.at(-1)?.authorization).toBe("Bearer hf_secret");
  });

  it.each([
    ["ftp://example.org/x", "an address that begins with ftp:"],
    ["file:///etc/passwd", "an address that begins with file:"],
    ["http://example.org/x", "an unencrypted address (example.org)"],
    ["https://u:p@example.org/x", "an address with credentials (example.org)"],
    ["https://169.254.169.254/latest", "an address that is not public (169.254.169.254)"],
    ["https://localhost/x", "an address that is not public (localhost)"],
    ["https://0x7f000001/", "an address that is not public (127.0.0.1)"],
    ["https://[::1]/", "an address that is not public ([::1])"],
    ["https://[::ffff:10.0.0.1]/", "an address that is not public"],
    ["https://a b", "what is no address"],
  ])("to %s is refused", (target, why) => {
    const hub = new URL("https://huggingface.co");
    expect(() => followable(target, hub, hub)).toThrow(`huggingface.co leads to ${why}`);
    expect(followable("/x", hub, hub).href).toBe("https://huggingface.co/x");
    expect(followable("https://cdn.example.org/x", hub, hub).host).toBe("cdn.example.org");
  });
});

describe("secrets", () => {
  it.each(["hf_first\nSECRET", "hf_SECRET ", "hf_SECRET\u0001", "hf_SECRETé"])(
    "a token %j",
    async (token) => {
      vi.stubEnv("HF_TOKEN", token);
      expect(() => tokenOf({})).toThrow(/^HF_TOKEN holds a character that a token cannot have/);
      const message = await messageOf();
      expect(message).not.toContain("SECRET");
    },
  );

  it.each([
    "http://user:SECRET@127.0.0.1:9",
    "https://SECRET@host",
    "http://host\n/SECRET@x",
    "SECRET@host",
    "ftp://a:SECRET@b",
  ])("an address %j", (address) => {
    vi.stubEnv("HF_ENDPOINT", address);
    const message = ((): string => {
      try {
        return hubUrlOf({});
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message).toMatch(/HF_ENDPOINT: /);
    expect(message).not.toContain("SECRET");
  });
});

it("nothing half-written is left of any of these", async () => {
  at("/resolve/", (response) => response.end("other"));
  await messageOf();
  const left = await readdir(cache, { recursive: true, withFileTypes: true });
  expect(left.filter((e) => e.isFile()).map((e) => e.name)).toEqual([expect.stringMatching(/\.partial$/)]);
});
