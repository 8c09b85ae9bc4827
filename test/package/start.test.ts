import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { distFile, type Ran, runNode } from "../cli/run-cli.ts";

const MANIFEST = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
  engines: { node: string };
};

/** `lowrank --version` in a Node that says it is of another version. */
function startAs(version: string): Promise<Ran> {
  const code = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`;
  return runNode([
    "--import",
    `data:text/javascript,${encodeURIComponent(code)}`,
    distFile("cli/main.js"),
    "--version",
  ]);
}

test("the needed version of Node is stated as one lowest version, which is what the start reads", () => {
  expect(MANIFEST.engines.node).toMatch(/^>=\d+\.\d+\.\d+$/);
});

test.each(["18.20.8", "20.9.0", "20.18.3"])(
  "Node %s is too old: one line, exit status 1",
  async (version) => {
    const ran = await startAs(version);
    expect(ran).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: `error: lowrank needs Node ${MANIFEST.engines.node.slice(2)} or later, and this is Node ${version}\n`,
    });
  },
);

test.each(["20.19.0", "20.100.0", "22.0.0", "24.1.2"])("Node %s will do", async (version) => {
  expect(await startAs(version)).toEqual({ exitCode: 0, stdout: `${MANIFEST.version}\n`, stderr: "" });
});
