import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FakeHub } from "./server.ts";

/** What a push did to the imitation of the Hub. */
export interface FakeCommit {
  readonly repo: string;
  readonly branch: string;
  readonly summary: string;
  readonly paths: readonly string[];
}

/** Uploaded contents by sha256, until a commit names them. */
const contents = new WeakMap<FakeHub, Map<string, Buffer>>();

type Json = Record<string, unknown>;

function answer(response: ServerResponse, status: number, value: unknown): ServerResponse {
  return response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The routes that write: creating, branching, announcing files, their contents, the commit. */
export async function receive(
  hub: FakeHub,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<ServerResponse> {
  const path = decodeURIComponent(new URL(request.url ?? "/", hub.url).pathname);
  const body = await bodyOf(request);
  const deny = request.headers.authorization === `Bearer ${hub.token}` ? hub.deny : { status: 401 };
  const isStorage = path.startsWith("/storage/"); // a signed address: no token
  if (deny !== null && !isStorage) return answer(response, deny.status, { error: "no" });
  if (hub.failOn?.test(path)) return answer(response, 500, { error: "broken" });
  const [, name, route, branch] = /^\/api\/models\/([^/]+\/[^/]+)\/(\w+)\/(.+)$/.exec(path) ?? [];
  if (isStorage) return store(hub, path, body, response);
  if (path === "/api/repos/create") return create(hub, JSON.parse(String(body)), response);
  if (path.endsWith(".git/info/lfs/objects/batch")) return batch(hub, JSON.parse(String(body)), response);
  if (route === "branch") return makeBranch(hub, `${name}@${branch}`, response);
  if (route === "preupload") return preupload(JSON.parse(String(body)), response);
  if (route === "commit") return commit(hub, `${name}`, `${branch}`, String(body), response);
  return answer(response, 404, { error: `no route ${path}` });
}

function create(hub: FakeHub, asked: Json, response: ServerResponse): ServerResponse {
  const name = `${asked.organization}/${asked.name}`;
  if (hub.repos.has(`model:${name}`))
    return answer(response, 409, { error: "You already created this repo" });
  hub.repos.set(`model:${name}`, {});
  hub.visibility.set(name, String(asked.visibility));
  return answer(response, 200, { url: `${hub.url}/${name}`, id: "1" });
}

function makeBranch(hub: FakeHub, branch: string, response: ServerResponse): ServerResponse {
  if (hub.branches.has(branch)) return answer(response, 409, { error: "Reference already exists" });
  hub.branches.add(branch);
  return answer(response, 200, {});
}

/** As the Hub's .gitattributes say. */
function preupload(asked: Json, response: ServerResponse): ServerResponse {
  const files = (asked.files as { path: string }[]).map(({ path }) => ({
    path,
    uploadMode: path.endsWith(".safetensors") ? "lfs" : "regular",
  }));
  return answer(response, 200, { files });
}

function batch(hub: FakeHub, asked: Json, response: ServerResponse): ServerResponse {
  const objects = (asked.objects as { oid: string; size: number }[]).map((o) => ({
    ...o,
    actions: { upload: { href: `${hub.url}/storage/${o.oid}` } },
  }));
  return answer(response, 200, { transfer: "basic", objects });
}

function store(hub: FakeHub, path: string, body: Buffer, response: ServerResponse): ServerResponse {
  const oid = path.replace("/storage/", "");
  if (createHash("sha256").update(body).digest("hex") !== oid)
    return answer(response, 400, { error: "sha256" });
  const stored = contents.get(hub) ?? new Map<string, Buffer>();
  contents.set(hub, stored.set(oid, body));
  return answer(response, 200, {});
}

function commit(
  hub: FakeHub,
  repo: string,
  branch: string,
  body: string,
  response: ServerResponse,
): ServerResponse {
  const lines = body.split("\n").map((line) => JSON.parse(line) as { key: string; value: Json });
  const files = hub.repos.get(`model:${repo}`) ?? {};
  const paths: string[] = [];
  for (const { key, value } of lines) {
    const path = String(value.path);
    if (key === "file") files[path] = { content: Buffer.from(String(value.content), "base64") };
    const stored = contents.get(hub)?.get(String(value.oid));
    if (key === "lfsFile" && stored) files[path] = { content: stored, lfs: true };
    if (key !== "header") paths.push(path);
  }
  hub.repos.set(`model:${repo}`, files);
  hub.commits.push({ repo, branch, summary: String(lines[0]?.value.summary), paths });
  return answer(response, 200, { commitOid: "d".repeat(40), commitUrl: `${hub.url}/${repo}/commit/d` });
}
