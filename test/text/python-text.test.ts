import { describe, expect, it } from "vitest";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import { pythonSplit, pythonStrip } from "../../src/text/python-text.ts";
import { tinySource } from "./fixtures.ts";

describe("python's strip", () => {
  it("takes Python's white space, not JavaScript's", () => {
    expect(pythonStrip(" \t\r\n\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2000\u200a\u3000a b\u2028 ")).toBe("a b");
    expect(pythonStrip("\ufeffa\ufeff")).toBe("\ufeffa\ufeff");
    expect(pythonStrip("\u200b a")).toBe("\u200b a");
  });

  it("takes a set of characters from the sides asked for", () => {
    expect(pythonStrip("\n\n  a \n", "lstrip", "\n")).toBe("  a \n");
    expect(pythonStrip("xyaxy", "rstrip", "yx")).toBe("xya");
    expect(pythonStrip("🚀a🚀", "strip", "🚀")).toBe("a");
    expect(pythonStrip("aaa", "strip", "a")).toBe("");
  });
});

describe("python's split", () => {
  it("gives the words between any white space", () => {
    expect(pythonSplit(" a\x1cb\u3000 \n c\ufeff ")).toEqual(["a", "b", "c\ufeff"]);
    expect(pythonSplit("  ")).toEqual([]);
  });
});

describe("templates", () => {
  const render = (chatTemplate: string): string =>
    createChatTemplate(tinySource("qwen2", { chatTemplate })).render([
      { role: "user", content: "\x85\n  a-b \n" },
    ]);

  it("strip as Python does, with and without characters, as method and as filter", () => {
    expect(render("[{{ messages[0].content.strip() }}]")).toBe("[a-b]");
    expect(
      render("[{{ messages[0].content.rstrip('\\n').lstrip('\\n\\x85') }}]".replace("\\x85", "\x85")),
    ).toBe("[  a-b ]");
    expect(render("[{{ messages[0].content | trim }}]")).toBe("[a-b]");
    expect(render("[{{ (messages[0].content | trim).strip('b') + 'c' | trim('c') }}]")).toBe("[a-]");
    expect(render("{% if messages[0].content.strip() == 'a-b' %}yes{% endif %}")).toBe("yes");
    expect(render("[{{ nothing | trim }}]")).toBe("[]");
  });

  it("fail on strip of what is not a text", () => {
    expect(() => render("{{ messages.strip() }}")).toThrow(
      "chat template: line 1: 'list object' has no attribute 'strip'",
    );
  });
});
