import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "vite";

/** Threads of WebAssembly share memory, which only a cross-origin isolated page may. */
const headers = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

const config: UserConfig = defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  // As it is in the package; elsewhere `npm install lowrank onnxruntime-web` puts it where Vite looks.
  resolve: {
    alias: {
      "lowrank/browser": fileURLToPath(new URL("../../dist/browser/index.js", import.meta.url)),
    },
  },
  worker: { format: "es" },
  build: { target: "es2022", chunkSizeWarningLimit: 2000 },
  server: { headers },
  preview: { headers },
});

export default config;
