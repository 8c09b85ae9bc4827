import { describe, expect, it } from "vitest";
import { FormatError } from "../../../src/errors.ts";
import { parseTemplate } from "../../../src/text/jinja/template.ts";

const render = (template: string, data: Readonly<Record<string, unknown>> = {}): string =>
  parseTemplate(template).render({ data, template: {} }).text;

/** A template that asks for more than a rendering may take must fail, and soon. */
const HOSTILE: readonly (readonly [string, RegExp])[] = [
  ["{% for i in range(10 ** 9) %}{% endfor %}", /Range too big/],
  [`${"{% for i in range(99999) %}".repeat(4)}x${"{% endfor %}".repeat(4)}`, /line 1: more than \d+ steps/],
  [
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    /more than \d+ characters/,
  ],
  [
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    /more than \d+ characters/,
  ],
  [
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s | replace('x', 'xx') %}{% endfor %}",
    /more than \d+ (characters|steps)/,
  ],
  [
    "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
    /more than \d+ characters/,
  ],
  [
    "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    /more than \d+ steps/,
  ],
  [
    "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    /more than \d+ (characters|steps)/,
  ],
  [
    "{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
    /nested too deeply/,
  ],
  [
    "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    /integer is too large/,
  ],
  ["{{ 'x' * 10 ** 9 }}", /more than \d+ characters/],
  ["{{ [] * 10 ** 9 }}{{ [0] * 10 ** 9 }}", /more than \d+ steps/],
  ["{{ 'x'.center(10 ** 9) }}", /more than \d+ characters/],
  ["{{ '%1000000000d' % 1 }}", /more than \d+ characters/],
  ["{{ '{:1000000000}'.format(1) }}", /more than \d+ characters/],
  ["{{ 'x' | indent(10 ** 9, true) }}", /more than \d+ characters/],
  ["{{ 2 ** (10 ** 9) }}", /integer is too large/],
  ["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", /too deeply/],
  ["{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", /too deeply/],
  ["{% set t = [1] %}{% for x in t recursive %}{{ loop(t) }}{% endfor %}", /too deeply/],
  [`{{ ${"(".repeat(5000)}1${")".repeat(5000)} }}`, /cannot be parsed: line 1: nested/],
  [`{{ ${"not ".repeat(5000)}1 }}`, /cannot be parsed: line 1: nested/],
  [`{{ 1${" + 1".repeat(5000)} }}`, /cannot be parsed: line 1: an expression of more than/],
  [`{{ a${".b".repeat(5000)} }}`, /cannot be parsed: line 1: an expression of more than/],
  [`${"{% if 1 %}".repeat(5000)}`, /cannot be parsed: line 1: nested/],
];

describe("limits", () => {
  it.each(HOSTILE.map(([t, m]) => [t.slice(0, 70), t, m] as const))("%s", (_, template, message) => {
    const start = performance.now();
    expect(() => render(template)).toThrow(message);
    expect(performance.now() - start).toBeLessThan(15_000); // seconds at most; the machine may be busy
  });

  it("are far from what conversations need", () => {
    const messages = Array.from({ length: 1000 }, (_, i) => ({
      role: i % 2 ? "assistant" : "user",
      content: `${i} `.repeat(20_000),
    }));
    const template =
      "{% for m in messages %}<{{ m.role }}>{{ (m.content | trim).split('</think>')[-1].replace('a', 'b') + '\n' }}{% endfor %}";
    expect(render(template, { messages }).length).toBeGreaterThan(50_000_000);
  });

  it("can be set", () => {
    const template = "{% for i in range(100) %}{{ i }}{% endfor %}";
    const limited = (limits: object) => () =>
      parseTemplate(template, limits).render({ data: {}, template: {} });
    expect(limited({ maxSteps: 50 })).toThrow(new FormatError("chat template", "line 1: more than 50 steps"));
    expect(limited({ maxLength: 50 })).toThrow(
      new FormatError("chat template", "line 1: more than 50 characters"),
    );
    expect(limited({})).not.toThrow();
  });

  it("hold for data too", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 9999; i++) deep = [deep];
    expect(() => render("x", { deep })).toThrow("chat template: deep is nested too deeply");
  });
});

describe("JavaScript's own properties", () => {
  it.each([
    "constructor",
    "__proto__",
    "toString",
    "hasOwnProperty",
    "prototype",
    "length",
    "valueOf",
    "call",
  ])("%s: no value has it", (name) => {
    for (const object of ["{}", "[]", "''", "1", "none", "range", "dict", "namespace(a=1)", "(1, 2)", "x"]) {
      expect(
        render(`{{ (${object}).${name} is defined }}{{ (${object})['${name}'] is defined }}`, {
          x: { a: 1 },
        }),
      ).toBe("FalseFalse");
    }
    if (name === "length") return; // a filter, too
    expect(render(`{{ ${name} is defined }}{{ '${name}' is filter }}{{ '${name}' is test }}`)).toBe(
      "FalseFalseFalse",
    );
    expect(() => render(`{{ 1 | ${name} }}`)).toThrow(FormatError);
    expect(() => render(`{{ ''.${name}() }}`)).toThrow(FormatError);
  });

  it("are keys of data like any others", () => {
    const x: unknown = JSON.parse('{"__proto__": 1, "constructor": 2}');
    expect(render("{{ x.constructor }}{{ x['__proto__'] }}{{ x | length }}", { x })).toBe("212");
  });
});
