import { join } from "node:path";
import { expect, test } from "vitest";
import { namedAdapters } from "../../src/cli/adapter-names.ts";
import { fixturePath } from "../peft/adapters.ts";
import { runCli } from "./run-cli.ts";

const MODEL = ["--model", fixturePath("models/llama"), "--threads", "1", "--max-tokens", "6"];
const at = (name: string): string => join(fixturePath("peft/several"), name);

test.each([
  [["runs/a"], [["runs/a", "runs/a", 1]]],
  [["runs/a=0.7"], [["runs/a", "runs/a", 0.7]]],
  [["sql=runs/a=-2"], [["sql", "runs/a", -2]]],
  [
    ["sql=runs/a", "b=1e-1"],
    [
      ["sql", "runs/a", 1],
      ["b", "b", 0.1],
    ],
  ],
  [
    ["a=0.7,b=0.3"],
    [
      ["a", "a", 0.7],
      ["b", "b", 0.3],
    ],
  ],
  [["runs/lr=0.5"], [["runs/lr=0.5", "runs/lr=0.5", 1]]], // there is such a folder
  [["runs/lr=0.5=0.2"], [["runs/lr=0.5", "runs/lr=0.5", 0.2]]],
  [["x=runs/lr=0.5=0.2"], [["x", "runs/lr=0.5", 0.2]]],
  [["org/name"], [["org/name", "org/name", 1]]],
])("%j", async (texts, expected) => {
  const found = await namedAdapters(texts, async (text) => text === "runs/lr=0.5");
  expect(found.map(({ name, path, factor }) => [name, path, factor])).toEqual(expected);
});

test("one adapter twice needs names", async () => {
  await expect(namedAdapters(["a", "b", "a=2"], async () => false)).rejects.toThrow("a is given twice");
  expect(await namedAdapters(["a", "x=a"], async () => false)).toHaveLength(2);
});

// The fixtures name a base that is nowhere.
const DOUBTS = /^(warning: .* is for tiny-llama; .* cannot be told\n)*$/;

test("chat switches adapters by name, weighs them, and says what is wrong", async () => {
  const adapters = ["--adapter", `a=${at("a")}=0.5`, "--adapter", `b=${at("b")}`];
  const generate = async (...use: string[]): Promise<string> => {
    const { stdout, stderr } = await runCli(["generate", ...MODEL, ...use, "list the files"]);
    expect(stderr).toMatch(DOUBTS);
    return stdout;
  };
  const input = [
    "list the files",
    "/reset",
    "/adapter b",
    "list the files",
    "/reset",
    "/adapter none",
    "list the files",
  ];
  const more = ["/adapter a=2,b=-1", "/adapter x,y", "/adapter"];
  const { stdout, stderr, exitCode } = await runCli(["chat", ...MODEL, ...adapters], {
    input: `${[...input, ...more].join("\n")}\n`,
  });
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(DOUBTS);
  const unknown = ["x", "y"].map((n) => `  ${n}: no adapter of this name is loaded; loaded: a, b\n`).join("");
  expect(stdout).toBe(
    [
      await generate(...adapters),
      "  a\n* b\n",
      await generate("--adapter", at("b")),
      "  a\n  b\n",
      await generate(),
      "* a=2\n* b=-1\n",
      `these adapters cannot be used:\n${unknown}`,
      "* a=2\n* b=-1\n",
    ].join(""),
  );
}, 60_000);

test("inspect --swap measures switching", async () => {
  const { stdout, exitCode } = await runCli([
    "inspect",
    "--swap",
    fixturePath("models/llama"),
    "--count",
    "2",
  ]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^Adapters +2 adapters, random LoRA on q and v$/m);
  expect(stdout).toMatch(/^Swap +[\d.]+ m?s \(/m);
  expect(stdout).toMatch(/^Storage, merged +177\.\d KiB: 2 merged models$/m);
  const given = ["--adapter", at("a"), "--adapter", `two=${at("b")}`, "--json"];
  const json = await runCli(["inspect", "--swap", fixturePath("models/llama"), ...given]);
  expect(JSON.parse(json.stdout)).toMatchObject({ adapters: 2, isRandom: false });
  expect((await runCli(["inspect"])).stderr).toBe("error: missing: the path of what to inspect\n");
}, 60_000);
