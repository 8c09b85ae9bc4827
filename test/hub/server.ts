import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type FakeCommit, receive } from "./uploads.ts";

/** A file of a fake repository; `lfs` files are announced with their sha256. */
export interface FakeFile {
  readonly content: Buffer;
  readonly lfs?: boolean;
}

/** The Hub's few routes that fetching and uploading use, on the loopback. Faults are set by the tests. */
export interface FakeHub {
  readonly url: string;
  /** "model:org/name" or "dataset:org/name" → path → file. */
  readonly repos: Map<string, Record<string, FakeFile>>;
  /** Requests for file contents: "path range". */
  readonly downloads: string[];
  /** All requests. */
  readonly requests: string[];
  /** Close the connection after so many bytes, so many times. */
  breakAfter: { bytes: number; times: number } | null;
  ignoreRanges: boolean;
  /** Answer to every request for a repository: status and x-error-code. */
  deny: { status: number; code?: string } | null;
  /** Send other bytes than announced. */
  corrupt: boolean;
  /** Never answer. */
  silent: boolean;
  /** Begin answers of the API, and never end them. */
  stall: boolean;
  /** Token that is needed; writing always needs it. */
  token: string | null;
  /** What was written. */
  readonly commits: FakeCommit[];
  /** "org/name" → as asked for when it was made. */
  readonly visibility: Map<string, string>;
  /** "org/name@branch" of branches that were made. */
  readonly branches: Set<string>;
  /** Paths of writing requests that are answered with 500. */
  failOn: RegExp | null;
  close(): Promise<void>;
}

export const COMMIT: string = "c0ffee".padEnd(40, "0");

const sha = (algorithm: string, prefix: string, content: Buffer): string =>
  createHash(algorithm).update(prefix).update(content).digest("hex");

/** Id of a file's content in the cache: sha256 of an LFS file, else git's. */
export function contentId(file: FakeFile): string {
  return file.lfs
    ? sha("sha256", "", file.content)
    : sha("sha1", `blob ${file.content.length}\0`, file.content);
}

function treeEntry(path: string, file: FakeFile): object {
  const size = file.content.length;
  const lfs = file.lfs ? { lfs: { oid: contentId(file), size, pointerSize: 130 } } : {};
  return { type: "file", path, size, oid: file.lfs ? "f".repeat(40) : contentId(file), ...lfs };
}

export async function startHub(): Promise<FakeHub> {
  const server = createServer((request, response) => serve(hub, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hub: FakeHub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    repos: new Map(),
    downloads: [],
    requests: [],
    commits: [],
    visibility: new Map(),
    branches: new Set(),
    ...{
      breakAfter: null,
      ignoreRanges: false,
      deny: null,
      corrupt: false,
      silent: false,
      stall: false,
      token: null,
      failOn: null,
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return hub;
}

function json(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

const ROUTE =
  /^\/(?:api\/(model|dataset)s\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)|(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+))$/;

function serve(hub: FakeHub, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", hub.url);
  hub.requests.push(url.pathname);
  if (hub.silent) return;
  if (request.method !== "GET" && request.method !== "HEAD") {
    void receive(hub, request, response);
    return;
  }
  if (hub.stall) {
    response.writeHead(200, { "content-type": "application/json" }).write("{");
    return;
  }
  const [, type, apiName, route, , isDataset, fileName, , file] =
    ROUTE.exec(decodeURIComponent(url.pathname)) ?? [];
  const name = apiName ?? fileName;
  const kind = type ?? (isDataset === undefined ? "model" : "dataset");
  const needsToken = hub.token !== null && request.headers.authorization !== `Bearer ${hub.token}`;
  const deny = hub.deny ?? (needsToken ? { status: 401, code: "RepoNotFound" } : null);
  const files = hub.repos.get(`${kind}:${name}`);
  const fault = deny ?? (files === undefined ? { status: 404, code: "RepoNotFound" } : null);
  if (fault !== null || files === undefined) {
    response.writeHead(fault?.status ?? 404, fault?.code ? { "x-error-code": fault.code } : {}).end("no");
    return;
  }
  const found = files[file ?? ""];
  if (route === "revision") json(response, { _id: "1", id: name, sha: COMMIT, lastModified: 0 });
  else if (route === "tree") tree(hub, url, response, files);
  else if (found === undefined) response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
  else send(hub, request, response, file ?? "", found);
}

/** Two pages, so that following them is tested. */
function tree(hub: FakeHub, url: URL, response: ServerResponse, files: Record<string, FakeFile>): void {
  const entries = Object.entries(files).map(([path, file]) => treeEntry(path, file));
  const next = new URL(url);
  next.searchParams.set("cursor", "1");
  if (url.searchParams.has("cursor")) json(response, entries.slice(1));
  else
    json(response, entries.slice(0, 1), { link: `<${hub.url}${next.pathname}${next.search}>; rel="next"` });
}

function send(
  hub: FakeHub,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  file: FakeFile,
): void {
  const range = request.headers.range ?? "";
  hub.downloads.push(`${path} ${range}`.trim());
  const from = hub.ignoreRanges ? 0 : Number(/^bytes=(\d+)-/.exec(range)?.[1] ?? 0);
  const body = Buffer.from(file.content.subarray(from));
  if (hub.corrupt && body.length > 0) body[0] = (body[0] as number) ^ 1;
  const total = file.content.length;
  response.writeHead(from > 0 ? 206 : 200, {
    "content-length": String(body.length),
    ...(from > 0 ? { "content-range": `bytes ${from}-${total - 1}/${total}` } : {}),
  });
  const fault = hub.breakAfter;
  if (fault === null || fault.times === 0 || body.length <= fault.bytes) {
    response.end(body);
    return;
  }
  fault.times--;
  response.write(body.subarray(0, fault.bytes), () => setTimeout(() => response.destroy(), 20));
}
