// Builds the example and serves it.
// usage: npm run example:browser -- [--model <folder or .gguf file>] [--port 4173]
//   --model: also served, as the default model, from the same origin
import { createReadStream, statSync } from "node:fs";
import { basename, dirname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, preview } from "vite";

const { values } = parseArgs({ options: { model: { type: "string" }, port: { type: "string" } } });
const configFile = fileURLToPath(new URL("vite.config.ts", import.meta.url));

/** Answers with the files below a folder at /model/. */
function modelFiles(path) {
  const model = resolve(path);
  const isFile = statSync(model).isFile();
  const [folder, only] = isFile ? [dirname(model), basename(model)] : [model, null];
  const address = isFile ? `model/${encodeURIComponent(only)}` : "model/";
  const answer = (request, response, next) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/model.json") return response.end(JSON.stringify({ address, name: basename(model) }));
    if (!pathname.startsWith("/model/")) return next();
    const name = normalize(decodeURIComponent(pathname.slice("/model/".length)));
    const size = fileSize(join(folder, name));
    if (name.startsWith("..") || (only !== null && name !== only) || size === null) {
      response.statusCode = 404;
      return response.end();
    }
    response.setHeader("content-length", size);
    response.setHeader("content-type", "application/octet-stream");
    createReadStream(join(folder, name)).pipe(response);
  };
  return { name: "model-files", configurePreviewServer: (server) => void server.middlewares.use(answer) };
}

function fileSize(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() ? found.size : null;
}

const plugins = values.model === undefined ? [] : [modelFiles(values.model)];
await build({ configFile, logLevel: "warn" });
const port = Number(values.port ?? 4173);
const server = await preview({ configFile, plugins, preview: { port, host: "127.0.0.1" } });
server.printUrls();
