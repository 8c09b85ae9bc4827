import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Link {
  readonly line: number;
  readonly text: string;
  readonly target: string;
}

/** Lines without code: those of fenced blocks are empty. */
function proseLines(markdown: string): string[] {
  let isCode = false;
  return markdown.split("\n").map((line) => {
    const isFence = /^\s*```/.test(line);
    if (isFence) isCode = !isCode;
    return isFence || isCode ? "" : line;
  });
}

/** Links and images that lead into this repository. */
function relativeLinks(markdown: string): Link[] {
  return proseLines(markdown).flatMap((line, i) =>
    [...line.matchAll(/\[([^\]]*)\]\(([^)\s]+)\)/g)]
      .map(([, text = "", target = ""]) => ({ line: i + 1, text, target }))
      .filter(({ target }) => !/^[a-z]+:/.test(target)),
  );
}

/** Anchors of headings, as GitHub makes them. */
function anchors(markdown: string): Set<string> {
  const found = new Set<string>();
  for (const line of proseLines(markdown)) {
    const heading = /^#{1,6}\s+(.*?)\s*$/.exec(line)?.[1];
    if (heading === undefined) continue;
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
    let name = slug;
    for (let i = 1; found.has(name); i++) name = `${slug}-${i}`;
    found.add(name);
  }
  return found;
}

/** What is wrong with a link of a page; null for nothing. */
function faultOf({ line, text, target }: Link, page: string): string | null {
  const where = `${relative(ROOT, page)}:${line}: ${target}`;
  const [path = "", anchor] = target.split("#");
  const file = path === "" ? page : resolve(dirname(page), path);
  if (!existsSync(file)) return `${where} is not there`;
  if (statSync(file).isDirectory()) return null;
  const content = readFileSync(file, "utf8");
  if (anchor !== undefined && !anchors(content).has(anchor)) return `${where}: no heading has this anchor`;
  const name = /^`([A-Za-z]\w*)`$/.exec(text)?.[1];
  const declared = new RegExp(`\\b(?:function\\*?|const|class|interface|type) ${name}\\b`);
  return name !== undefined && file.endsWith(".ts") && !declared.test(content)
    ? `${where} declares no ${name}`
    : null;
}

function markdownBelow(folder: string): string[] {
  const names = readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => join(folder, name));
}

const PAGES = [
  ...["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "llms.txt", "bench/README.md"],
  ...["test/interop/README.md", ...markdownBelow("docs")],
].filter((page) => existsSync(join(ROOT, page)));

test.each(PAGES)("%s: links lead to files, headings and declarations that are there", (page) => {
  const path = join(ROOT, page);
  const links = relativeLinks(readFileSync(path, "utf8"));
  expect(links.flatMap((link) => faultOf(link, path) ?? [])).toEqual([]);
});

test("every page of docs can be reached from README.md", () => {
  const reached = new Set(["README.md"]);
  for (const page of reached) {
    const links = relativeLinks(readFileSync(join(ROOT, page), "utf8"));
    const targets = links.map(({ target }) => join(dirname(page), target.split("#")[0] ?? ""));
    for (const target of targets)
      if (target.endsWith(".md") && existsSync(join(ROOT, target))) reached.add(target);
  }
  expect(markdownBelow("docs").filter((page) => !reached.has(page))).toEqual([]);
});

describe("the check itself", () => {
  const page = join(ROOT, "README.md");
  const fault = (target: string, text = "x"): string | null => faultOf({ line: 3, text, target }, page);

  test("finds what is wrong with a link", () => {
    expect(fault("docs/nothing.md")).toBe("README.md:3: docs/nothing.md is not there");
    expect(fault("CONTRIBUTING.md#nothing")).toBe(
      "README.md:3: CONTRIBUTING.md#nothing: no heading has this anchor",
    );
    expect(fault("src/data/trie.ts", "`packTree`")).toBe(
      "README.md:3: src/data/trie.ts declares no packTree",
    );
    expect(fault("src/data/trie.ts", "`packTrie`")).toBeNull();
    expect(fault("CONTRIBUTING.md#rules")).toBeNull();
  });

  test("links in code and links elsewhere are left out; every other is found", () => {
    const text = "[a](b.md) ![c](d.svg)\n```\n[e](f.md)\n```\n[g](https://h.example) [i](#j)";
    expect(relativeLinks(text).map(({ line, target }) => [line, target])).toEqual([
      [1, "b.md"],
      [1, "d.svg"],
      [5, "#j"],
    ]);
  });

  test("anchors are GitHub's: punctuation falls away, equal headings are numbered", () => {
    expect([...anchors("# It's `a` b, c!\n## Twice\n## Twice\n```\n# no\n```")]).toEqual([
      "its-a-b-c",
      "twice",
      "twice-1",
    ]);
  });
});
