import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

/** What a page is served from: content by address, and folders by the address that they stand under. */
export interface Site {
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly folders?: Readonly<Record<string, string>>;
  /** Threads of WebAssembly need it; default true. */
  readonly isIsolated?: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** A server on a free port of this machine. */
export async function serve({ files = {}, folders = {}, isIsolated = true }: Site): Promise<{
  readonly url: string;
  close(): Promise<void>;
}> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
    response.setHeader(
      "content-type",
      TYPES[path === "/" ? ".html" : extname(path)] ?? "application/octet-stream",
    );
    if (isIsolated) {
      response.setHeader("cross-origin-opener-policy", "same-origin");
      response.setHeader("cross-origin-embedder-policy", "require-corp");
    }
    const content = files[path];
    if (content !== undefined) return void response.end(content);
    const [under, folder] = Object.entries(folders).find(([start]) => path.startsWith(start)) ?? [];
    const file = under && folder ? join(folder, normalize(path.slice(under.length))) : "";
    if (file === "" || !existsSync(file) || !statSync(file).isFile()) {
      response.statusCode = 404;
      return void response.end();
    }
    response.setHeader("content-length", statSync(file).size);
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
