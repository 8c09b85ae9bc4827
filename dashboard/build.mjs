// Bundles the dashboard's page into dist/server/dashboard/page: one script, one style sheet, one HTML file.
// usage: node dashboard/build.mjs
import { copyFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const output = here("../dist/server/dashboard/page");

await build({
  entryPoints: { app: here("main.tsx") },
  outdir: output,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  // The licences of what is bundled ask to be kept with it.
  legalComments: "eof",
  banner: { js: "/*! Holds Preact (c) Jason Miller and uPlot (c) Leon Sorokin, both MIT. */" },
  logLevel: "warning",
});
await copyFile(here("index.html"), `${output}/index.html`);
