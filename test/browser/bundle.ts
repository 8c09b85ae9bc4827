import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Metafile } from "esbuild";

const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** A module and all that it reaches, as a bundler for browsers takes it. Left outside: Node's own modules, so that who imports them can
 *  be named, and what `options` say. */
export async function bundled(
  entry: string,
  options: BuildOptions = {},
): Promise<{ readonly code: Uint8Array; readonly inputs: Metafile["inputs"] }> {
  const { outputFiles, metafile } = await build({
    ...{ absWorkingDir: ROOT, entryPoints: [entry], bundle: true, metafile: true },
    write: false,
    ...{ platform: "browser", format: "esm", target: "es2022", logLevel: "silent" },
    ...options,
    external: ["node:*", ...(options.external ?? [])],
  });
  return { code: outputFiles?.[0]?.contents as Uint8Array, inputs: metafile?.inputs ?? {} };
}

/** Imports that lead out of a bundle: "file → module". */
export function outside(inputs: Metafile["inputs"]): string[] {
  return Object.entries(inputs).flatMap(([file, { imports }]) =>
    imports.filter((one) => one.external).map(({ path }) => `${file} → ${path}`),
  );
}
