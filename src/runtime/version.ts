import { createRequire } from "node:module";

/** Version of the execution engine, without loading it. */
export function engineVersion(): string {
  const own = createRequire(import.meta.url);
  return (own("onnxruntime-node/package.json") as { version: string }).version;
}
