import { expect, it } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { selectDataFiles } from "../../src/hub/dataset-files.ts";
import { globMatcher } from "../../src/io/glob.ts";

it.each([
  ["*.csv", "a.csv", true],
  ["*.csv", "x/a.csv", false],
  ["./a/*", "a/b", true],
  ["**/a.csv", "a.csv", true],
  ["**/a.csv", "x/y/a.csv", true],
  ["**/a.csv", "x/ya.csv", false],
  ["a/**", "a/b/c", true],
  ["a/**", "b/a/c", false],
  ["x/**/z", "x/z", true],
  ["x/**/z", "x/y/y/z", true],
  ["data/train-*-of-*.parquet", "data/train-0-of-1.parquet", true],
  ["a?c", "abc", true],
  ["a?c", "a/c", false],
  ["[ab]*", "box", true],
  ["[!ab]*", "box", false],
  ["[0-9].json", "7.json", true],
  ["{train,test}.json", "test.json", true],
  ["{train,test}.json", "tes.json", false],
  ["{a,ab}b", "abb", true],
  ["a.c", "abc", false],
  ["a(b|c)+$", "a(b|c)+$", true],
  ["a{b", "a{b", true],
  ["", "", true],
  ["", "a", false],
])("%j and %j: %j", (glob, path, matches) => {
  expect(globMatcher(glob)?.(path)).toBe(matches);
});

it("takes a time that the pattern cannot stretch", () => {
  const started = performance.now();
  const path = `${"a/".repeat(200)}${"a".repeat(400)}b`;
  for (const part of ["*", "**", "**/", "*a", "**a", "{a,aa}", "?*", "[a]*"])
    expect(globMatcher(`${part.repeat(Math.floor(900 / part.length))}x`)?.(path)).toBe(false);
  expect(performance.now() - started).toBeLessThan(3000); // milliseconds where nothing else runs
});

it.each(["*".repeat(1001), "[z-a].csv"])("a card whose pattern is none is named: %.12j", (pattern) => {
  const card = `---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ${JSON.stringify(pattern)}\n---\n`;
  const select = (): unknown => selectDataFiles("o/d", ["data.csv"], card, {});
  expect(select).toThrow(FormatError);
  expect(select).toThrow(/^o\/d: README\.md: data_files: ".*is no pattern of paths/);
});
