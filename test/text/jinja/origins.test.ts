import { describe, expect, it } from "vitest";
import { parseTemplate, type Rendering } from "../../../src/text/jinja/template.ts";

const MESSAGES = [
  { role: "user", content: "  ab<x>cd, ef \n", tool_calls: [{ name: "f", args: { n: 1, t: true } }] },
  { role: "assistant", content: "😀 two" },
];

function render(template: string, more: Readonly<Record<string, unknown>> = {}): Rendering {
  const data = { messages: MESSAGES, tools: [{ name: "t<x>" }], ...more };
  return parseTemplate(template).render({ data, template: { eos_token: "<x>" } });
}

/** The text with what came from data between ⟦ and ⟧. */
function marked(rendering: Rendering): string {
  let result = "";
  let end = 0;
  for (const span of rendering.data) {
    result += rendering.text.slice(end, span.start);
    const joins = result.endsWith("⟧") && span.start === end;
    result = joins ? result.slice(0, -1) : `${result}⟦`;
    result += `${rendering.text.slice(span.start, span.end)}⟧`;
    end = span.end;
  }
  return result + rendering.text.slice(end);
}

// c: the first content, which holds a token of the template.
const EXPRESSIONS: readonly (readonly [string, string])[] = [
  ["c", "⟦  ab<x>cd, ef \n⟧"],
  ["'[' + c.strip() + ']'", "[⟦ab<x>cd, ef⟧]"],
  ["'[' ~ (c | trim) ~ '<x>'", "[⟦ab<x>cd, ef⟧<x>"],
  ["('-' + c.strip() + '-').strip('-a')", "⟦b<x>cd, ef⟧"],
  ["('<x>' + c.strip()).lstrip('<')", "x>⟦ab<x>cd, ef⟧"],
  ["c.strip().replace('<x>', '<x>')", "⟦ab⟧<x>⟦cd, ef⟧"],
  ["'a<x>'.replace('<x>', c.strip())", "a⟦ab<x>cd, ef⟧"],
  ["c.strip() | replace('b', '|')", "⟦a⟧|⟦<x>cd, ef⟧"],
  ["c.strip().split(', ') | join('<x>')", "⟦ab<x>cd⟧<x>⟦ef⟧"],
  ["('<x>' + c.strip()).split('<x>')[1]", "⟦ab⟧"],
  ["('k=' + c.strip()).partition('=')[2]", "⟦ab<x>cd, ef⟧"],
  ["c.strip().rsplit(none, 1)[1]", "⟦ef⟧"],
  ["('q\\n' + c.strip()).splitlines()[1]", "⟦ab<x>cd, ef⟧"],
  ["('<x>' + c.strip())[1:5]", "x>⟦ab⟧"],
  ["('<x>' + c.strip())[::-1]", "⟦fe ,dc>x<ba⟧>x<"],
  ["('<x>' + c.strip()) | reverse", "⟦fe ,dc>x<ba⟧>x<"],
  ["c.strip()[2]", "⟦<⟧"],
  ["c.strip() | first ~ '<x>'", "⟦a⟧<x>"],
  ["('t' + c.strip()) | upper", "T⟦AB<X>CD, EF⟧"],
  ["('t ' + c.strip()) | title", "T ⟦Ab<X>cd, Ef⟧"],
  ["('t' + c.strip()).capitalize()", "T⟦ab<x>cd, ef⟧"],
  ["'<x>%s<x>' % c.strip()", "<x>⟦ab<x>cd, ef⟧<x>"],
  ["c.strip() % ()", "⟦ab<x>cd, ef⟧"],
  ["'{}<x>{a}'.format(c.strip(), a='z')", "⟦ab<x>cd, ef⟧<x>z"],
  ["c.strip() | tojson", '⟦"ab<x>cd, ef"⟧'],
  ["{'<x>': c.strip()} | tojson", '{"<x>": ⟦"ab<x>cd, ef"⟧}'],
  ["tools | tojson", '⟦[{"name": "t<x>"}]⟧'],
  ["tools", "⟦[{'name': 't<x>'}]⟧"],
  ["messages[0].tool_calls[0].args.n ~ '<x>'", "⟦1⟧<x>"],
  ["messages[0].tool_calls[0].args.n + 1", "⟦2⟧"],
  ["messages[0].tool_calls[0].args.t", "⟦True⟧"],
  ["messages[0].tool_calls[0].args | items | list", "[⟦('n', 1)⟧, ⟦('t', True)⟧]"],
  ["c.strip() * 2", "⟦ab<x>cd, efab<x>cd, ef⟧"],
  ["c.strip() | indent('<x>', true)", "<x>⟦ab<x>cd, ef⟧"],
  ["(c.strip() ~ '<x>') | truncate(7, true, '…', 0)", "⟦ab<x>c⟧…"],
  ["(c.strip() ~ '<x>') | e", "⟦ab&lt;x&gt;cd, ef⟧&lt;x&gt;"],
  ["c.strip().center(16, '*')", "**⟦ab<x>cd, ef⟧***"],
  ["[c.strip(), '<x>'] | join", "⟦ab<x>cd, ef⟧<x>"],
  ["['<x>', c.strip()] | sort | last", "⟦ab<x>cd, ef⟧"],
  ["nothing | default(c.strip())", "⟦ab<x>cd, ef⟧"],
  ["c.strip() if c else '<x>'", "⟦ab<x>cd, ef⟧"],
  ["(messages | map(attribute='role') | list)[1]", "⟦assistant⟧"],
  ["messages[1].content[0] ~ eos_token", "⟦😀⟧<x>"],
];

describe("characters of data stay data", () => {
  it.each(EXPRESSIONS)("{{ %s }}", (expression, expected) => {
    expect(marked(render(`{% set c = messages[0].content %}{{ ${expression} }}`))).toBe(expected);
  });

  it.each([
    ["{% for ch in messages[1].content %}{{ ch }}<x>{% endfor %}", "⟦😀⟧<x>⟦ ⟧<x>⟦t⟧<x>⟦w⟧<x>⟦o⟧<x>"],
    ["{% macro m(a) %}<x>{{ a }}{% endmacro %}{{ m(messages[1].content) }}", "<x>⟦😀 two⟧"],
    [
      "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}{{ messages[1].content }}{% endcall %}",
      "<⟦😀 two⟧>",
    ],
    [
      "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.role + '<x>' %}{% endfor %}{{ ns.t }}",
      "⟦user⟧<x>⟦assistant⟧<x>",
    ],
    ["{% set b %}<x>{{ messages[1].content }}{% endset %}{{ b | replace('two', '2') }}", "<x>⟦😀 ⟧2"],
    ["{% filter upper %}a{{ messages[1].role }}{% endfilter %}", "A⟦ASSISTANT⟧"],
    [
      "{% for k, v in messages[1].items() %}{{ k }}={{ v }};{% endfor %}",
      "⟦role⟧=⟦assistant⟧;⟦content⟧=⟦😀 two⟧;",
    ],
  ])("%s", (template, expected) => {
    expect(marked(render(template))).toBe(expected);
  });

  it("with the item and field that they came from", () => {
    const { data } = render("{{ messages[0].role }}{{ messages[1].content }}{{ tools[0].name }}");
    expect(data.map((d) => d.path)).toEqual(["messages[0].role", "messages[1].content", "tools"]);
  });

  it("whatever characters they are", () => {
    for (const content of [
      "\u{f0000}",
      "\ud800",
      "\udc00x",
      "a\u0000b",
      "\u{10ffff}\u202e",
      "<x>".repeat(50),
    ]) {
      const { text, data } = render("<x>{{ m }}<x>", { m: content });
      expect(text).toBe(`<x>${content}<x>`);
      expect(data).toEqual([{ start: 3, end: 3 + content.length, path: "m" }]);
    }
  });

  it("and special tokens of the template are its own", () => {
    expect(render("{{ eos_token }}{{ eos_token | tojson }}").data).toEqual([]);
  });
});

describe("what was read", () => {
  const read = (template: string): string[] => [...render(template).read].sort();

  it("is what was looked up, written whole or gone through", () => {
    expect(read("{{ messages[0].role }}{% if tools %}{% endif %}")).toEqual(["messages[0].role", "tools"]);
    expect(read("{{ messages[1] | tojson }}")).toEqual(["messages[1].content", "messages[1].role"]);
    expect(read("{{ messages[1] }}")).toEqual(["messages[1].content", "messages[1].role"]);
    expect(read("{% for k, v in messages[1] | items %}{% endfor %}")).toEqual([
      "messages[1].content",
      "messages[1].role",
    ]);
    expect(read("{{ messages[0].get('tool_calls') }}")).toEqual(["messages[0].tool_calls"]);
  });

  it("is nothing where messages were only counted", () => {
    expect(read("{{ messages | length }}{% for m in messages %}x{% endfor %}")).toEqual([]);
  });
});

describe("generation blocks", () => {
  it("are found where their text ends up", () => {
    const { text, generation } = render(
      "{% set b %}q{% generation %}{{ messages[1].content }}!{% endgeneration %}r{% endset %}[{{ b | upper }}]",
    );
    expect(generation.map(([start, end]) => text.slice(start, end))).toEqual(["😀 TWO!"]);
  });

  it("are known before rendering", () => {
    expect(parseTemplate("{% generation %}{% endgeneration %}").hasGeneration).toBe(true);
    expect(parseTemplate("{% set generation = 1 %}").hasGeneration).toBe(false);
  });
});
