// Calls that public chat templates write are read back: a conversation with one call and with two goes through each template whose form is
// known, and what follows the prompt must give the same calls and no other text. Also whether the template writes them as the form has it,
// to which required calls are held (an id of Mistral's apart, which the caller gives).
// usage: node test/interop/tool-calls.mjs --peers DIR --packages PACKAGES   (folders as for templates.mjs)
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { parseTemplate } from "../../dist/text/jinja/template.js";
import { toolCallForm } from "../../dist/text/tool-call-forms.js";
import { parseToolCalls } from "../../dist/text/tool-calls.js";

const { values } = parseArgs({ options: { peers: { type: "string" }, packages: { type: "string" } } });
if (!values.peers || !values.packages)
  throw new Error("usage: node test/interop/tool-calls.mjs --peers DIR --packages PACKAGES");

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [
  { type: "function", function: { name: "weather", description: "Weather of a city", parameters } },
];
const user = { role: "user", content: "How is the weather?" };
const EXPECTED = [
  { name: "weather", arguments: { city: 'Zürich "</tool_call>' } },
  { name: "weather", arguments: { city: "Bern", days: [1, 2.5, null], more: { a: true } } },
];
const END =
  /\s*(\[\|endofturn\|\]|<\|im_end\|>|<\|eot_id\|>|<\|eom_id\|>|<\/s>|<\|eot\|>|<\|end\|>|<\|endoftext\|>)\s*$/;

function templatesOf() {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-tool-calls-"));
  const [cases, out] = [join(folder, "cases.json"), join(folder, "out.json")];
  writeFileSync(cases, "[]");
  const side = new URL("templates_side.py", import.meta.url).pathname;
  execFileSync(join(resolve(values.peers), "venv/bin/python"), [side, resolve(values.packages), cases, out]);
  const { templates } = JSON.parse(readFileSync(out, "utf8"));
  rmSync(folder, { recursive: true });
  return templates;
}

/** What a template writes for an assistant that makes calls. */
function answerOf(source, calls) {
  const template = parseTemplate(source);
  const render = (messages, add_generation_prompt) =>
    template.render({
      data: { messages, tools, documents: null },
      template: { bos_token: "<s>", eos_token: "</s>", add_generation_prompt },
    }).text;
  const tool_calls = calls.map((call, i) => ({ id: `abcdefgh${i}`, type: "function", function: call }));
  const whole = render([user, { role: "assistant", content: "", tool_calls }], false);
  const prompt = render([user], true);
  const answer = whole.startsWith(prompt)
    ? whole.slice(prompt.length)
    : whole.slice(whole.lastIndexOf(user.content) + user.content.length);
  return answer.replace(END, "");
}

/** Calls as the form writes them, with arguments as the template wrote them. */
function writtenAs({ written: { opening, around, between, closing } }, calls) {
  const texts = calls.map(({ name, arguments: values }) => around(name).join(values));
  return `${opening}${texts.join(between ?? "")}${closing}`;
}

const plainOf = (answer) =>
  answer
    .replace(/^(<think>)?\s*<\/think>/, "")
    .replace(/, "id": "\w{9}"}/g, "}")
    .trim();

const outcomes = new Map();
const alike = new Set();
const differing = new Set();
for (const { package: from, name, source } of templatesOf()) {
  const form = toolCallForm(source);
  const hasTools = /\btools\b/.test(source);
  const results = [1, 2].map((count) => {
    if (form === null) return null;
    const calls = EXPECTED.slice(0, count);
    try {
      const answer = answerOf(source, calls);
      const read = parseToolCalls(form, answer);
      const got = read.calls.map((call) => ({ ...call, arguments: JSON.parse(call.arguments) }));
      if (!isDeepStrictEqual(got, calls)) return `other calls: ${JSON.stringify(answer)}`;
      const expected = writtenAs(form, read.calls);
      if (plainOf(answer) !== expected) differing.add(`${from}: ${name}: ${JSON.stringify(plainOf(answer))}`);
      else alike.add(`${from}: ${name}`);
      const said = read.text.replace(/^(<think>)?\s*<\/think>\s*/, ""); // thoughts, if empty ones
      return said === "" ? "read back" : `text too: ${JSON.stringify(said)}`;
    } catch (error) {
      return `template refuses: ${error.message.slice(0, 80)}`;
    }
  });
  const key = form === null ? (hasTools ? "another form" : "no tools") : form.name;
  outcomes.set(key, [...(outcomes.get(key) ?? []), { name: `${from}: ${name}`, results }]);
}
console.log(`written as the form has it: ${alike.size} templates; otherwise:`);
for (const one of differing) console.log(`  ${one}`);
for (const [form, all] of outcomes) {
  const good = (i) => all.filter(({ results }) => results[i] === "read back").length;
  console.log(`${form}: ${all.length} templates; one call read back: ${good(0)}, two calls: ${good(1)}`);
  if (form === "no tools") continue;
  for (const { name, results } of all)
    if (results.some((result) => result !== "read back"))
      console.log(`  ${name}: ${[...new Set(results.filter(Boolean))].join("; ")}`);
}
