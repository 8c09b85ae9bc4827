// What is learned of a conversation here, and what transformers masks as the assistant's under TRL's training templates.
// usage: node test/interop/labels.mjs --peers DIR --packages DIR [--show N]
//   DIR/venv/bin/python has transformers, DIR/smollm2-hf a tokenizer; packages hold the wheel of trl (see templates.mjs).
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { encodeConversation } from "../../dist/data/encode-chat.js";
import { readHfTokenizer } from "../../dist/formats/hf/tokenizer.js";
import { folderStorage } from "../../dist/io/storage/disk-storage.js";
import { encodeTurn } from "../../dist/text/chat-encode.js";
import { createChatTemplate } from "../../dist/text/chat-template.js";
import { createTokenizer } from "../../dist/text/tokenizer.js";
import { conversations as all } from "./template-conversations.mjs";

const { values } = parseArgs({
  options: {
    peers: { type: "string" },
    packages: { type: "string" },
    show: { type: "string", default: "0" },
  },
});
if (!values.peers || !values.packages)
  throw new Error("usage: node test/interop/labels.mjs --peers DIR --packages DIR [--show N]");
const [peers, packages] = [resolve(values.peers), resolve(values.packages)];
const here = new URL(".", import.meta.url).pathname;
const plain = join(peers, "smollm2-hf");

/** Those that end with an answer that says something, without contents that hold special tokens: there the two differ on purpose. */
const conversations = all.filter(({ messages, addGenerationPrompt }) => {
  const last = messages.at(-1);
  const isSaid = last?.role === "assistant" && (last.content || last.tool_calls);
  return isSaid && !addGenerationPrompt && !JSON.stringify(messages).includes("<|im_end|>");
});

function reference() {
  const folder = mkdtempSync(join(tmpdir(), "lowrank-labels-"));
  const cases = join(folder, "conversations.json");
  writeFileSync(cases, JSON.stringify(conversations));
  const script = join(here, "labels_side.py");
  execFileSync(join(peers, "venv/bin/python"), [script, plain, packages, cases, folder], {
    stdio: ["ignore", "inherit", "ignore"],
  });
  return folder;
}

const folder = reference();
const { transformers, templates } = JSON.parse(readFileSync(join(folder, "reference.json"), "utf8"));
const source = await readHfTokenizer(folderStorage(folder));
rmSync(folder, { recursive: true });
const tokenizer = createTokenizer(source);
const templateOf = (chatTemplate) => createChatTemplate({ ...source, chatTemplate });
const rowOf = ({ messages, tools, extra }) => ({
  kind: "conversation",
  messages,
  ...(tools ? { tools } : {}),
  ...(extra ? { templateArgs: extra } : {}),
});
const optionsOf = ({ tools, extra }) => ({ ...(tools ? { tools } : {}), ...(extra ? { extra } : {}) });
const isSame = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

/** Ids as a text, and for each of its UTF-16 units whether it is a label. */
function spelled(ids, mask) {
  let text = "";
  const labels = [];
  ids.forEach((id, k) => {
    const piece = tokenizer.decode([id], { special: true });
    text += piece;
    for (const _ of piece) labels.push(mask[k]);
  });
  return { text, labels };
}

const marked = ({ text, labels }) =>
  Array.from(text, (c, i) => (labels[i] === (labels[i - 1] ?? 0) ? c : `${labels[i] ? "⟦" : "⟧"}${c}`)).join(
    "",
  );

/** Where the last stretch of labels begins and ends. */
function lastRun(mask) {
  const end = mask.lastIndexOf(1);
  let start = end;
  while (start > 0 && mask[start - 1] === 1) start--;
  return [start, end + 1];
}

/** What the row as a whole is, against the mask of transformers. */
function compareRow(template, conversation, { ids, mask }) {
  const problems = [];
  const notes = { report: (message) => problems.push(message), note: () => {} };
  // Every token ends an answer: whether a template's end is learned is not the question here.
  const codec = { tokenizer, template, eosIds: { includes: () => true } };
  const row = encodeConversation(rowOf(conversation), codec, notes);
  if (row === null) return { verdict: "refused here", detail: problems[0] };
  const last = row.at(-1);
  const [tokens, labels] = [Array.from(last.ids), Array.from(last.isLabel)];
  if (row.length === 1 && isSame(tokens, ids) && isSame(labels, mask)) return { verdict: "equal" };
  const [ours, theirs] = [spelled(tokens, labels), spelled(ids, mask)];
  const detail = { theirs: marked(theirs), ours: marked(ours), sequences: row.length };
  const turn = encodeTurn(codec, conversation.messages, optionsOf(conversation));
  if (turn.departure) return { verdict: "the prompt is not what stands before the answer", detail };
  if (ours.text !== theirs.text) return { verdict: "different", detail };
  const prompt = spelled(Array.from(turn.ids.slice(0, turn.promptLength)), []).text.length;
  const isLastEqual = isSame(ours.labels.slice(prompt), theirs.labels.slice(prompt));
  if (!isLastEqual) return { verdict: "different", detail };
  if (row.length > 1)
    return { verdict: "last answer equal, earlier ones stand in sequences of their own", detail };
  const given = ours.labels.every((label, i) => label === theirs.labels[i] || label === 0);
  if (!given) return { verdict: "different", detail };
  const hasAll = isSame(ours.labels, theirs.labels);
  return {
    verdict: hasAll
      ? "equal text, the prompt's end is no token's end there"
      : "equal but for the prompt's own text",
    detail,
  };
}

/** The last answer under the template that the model has, without marks, against what the training template marks. */
function compareOriginal(template, { messages, ...options }, { ids, mask }) {
  const turn = encodeTurn({ tokenizer, template }, messages, optionsOf(options));
  const learned = Array.from(turn.ids).filter((_, i) => turn.isLabel[i] === 1);
  const masked = ids.slice(...lastRun(mask));
  const text = (list) => tokenizer.decode(list, { special: true });
  if (isSame(learned, masked)) return { verdict: "equal" };
  const detail = { learned: text(learned), marked: text(masked) };
  if (turn.departure) return { verdict: "the prompt is not what stands before the answer", detail };
  const [answer, whole] = [detail.learned.trimEnd(), detail.marked.trimEnd()];
  return { verdict: whole.endsWith(answer) ? "equal but for the prompt's own text" : "different", detail };
}

function attempt(compare) {
  try {
    return compare();
  } catch (error) {
    if (error.name === "TypeError") throw error;
    return { verdict: "refused here", detail: error.message };
  }
}

const counts = { training: new Map(), original: new Map() };
const count = (table, verdict) => counts[table].set(verdict, (counts[table].get(verdict) ?? 0) + 1);
let shown = 0;
for (const { name, source: text, original, results } of templates)
  for (const [i, expected] of results.entries()) {
    const note = (table, { verdict, detail }) => {
      count(table, verdict);
      if (!["equal", "nothing to compare"].includes(verdict) && shown++ < Number(values.show))
        console.log(`== ${table}, ${name}, conversation ${i}: ${verdict}\n${JSON.stringify(detail)}`);
    };
    if (expected.error || !expected.mask.includes(1)) {
      count("training", "nothing to compare");
      continue;
    }
    const conversation = conversations[i];
    note(
      "training",
      attempt(() => compareRow(templateOf(text), conversation, expected)),
    );
    if (original)
      note(
        "original",
        attempt(() => compareOriginal(templateOf(original), conversation, expected)),
      );
  }
const table = [
  "# What is learned of a conversation",
  "",
  `\`node test/interop/labels.mjs --peers DIR --packages DIR\`: ${templates.length} chat templates with \`{% generation %}\`, most of them`,
  `TRL's training templates, with ${conversations.length} conversations, the tokenizer of SmolLM2 with the special tokens of all, transformers ${transformers}.`,
  "",
  "Training template: all tokens and labels of a conversation against `return_assistant_tokens_mask`. Original template: the last answer",
  "as it is learned under the model's own template, which marks nothing, against what the training template of the same model marks.",
  "",
  "| | training template | original template |",
  "|-|-|-|",
  ...[...new Set([...counts.training.keys(), ...counts.original.keys()])].map(
    (verdict) =>
      `| ${verdict} | ${counts.training.get(verdict) ?? 0} | ${counts.original.get(verdict) ?? 0} |`,
  ),
  "",
].join("\n");
writeFileSync(new URL("../../bench/results/labels.md", import.meta.url), table);
console.log(table);
