import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { HttpError } from "../errors.ts";

/** Files of the page, by their address; `npm run build` makes them. */
export const PAGE_FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/dashboard/app.js": ["app.js", "text/javascript; charset=utf-8"],
  "/dashboard/app.css": ["app.css", "text/css; charset=utf-8"],
} as const;

/** Nothing from elsewhere, nothing inline, in no frame: a text that a model wrote can do nothing but be read. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The same folder from src (tests) and from dist. */
const FOLDER = new URL("../../../dist/server/dashboard/page/", import.meta.url);

/** A file of the page. @throws HttpError 503 where it was not built */
export async function pageFile(address: keyof typeof PAGE_FILES): Promise<Response> {
  const [name, type] = PAGE_FILES[address];
  const bytes = await readFile(fileURLToPath(new URL(name, FOLDER))).catch((cause) => {
    throw new HttpError(503, "not_built", "the page was not built: npm run build makes it", { cause });
  });
  const headers = { "content-type": type, "content-security-policy": POLICY, "cache-control": "no-cache" };
  return new Response(new Uint8Array(bytes), { headers });
}
