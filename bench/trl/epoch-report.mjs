import { machineLine } from "../lib/machine.mjs";

const four = (x) => (x === undefined || x === null ? "" : x.toFixed(4));

/** The comparison as Markdown. */
export function epochReport({ machine, reported, rows, losses }) {
  const lines = Object.entries(losses).flatMap(([model, { table }]) =>
    table.map((t) => `| ${model} | ${t.by} | ${t.tokensOf} | ${four(t.tokens)} | ${four(t.batches)} |`),
  );
  const after = ["after lowrank", "after TRL"].map((name) => losses[name].table[0].tokens);
  const worst = Math.max(...Object.values(losses).map((l) => l.largestRowDifference));
  const total = Object.values(rows).reduce((n, r) => n + r.different.length, 0);
  return `# One epoch beside TRL

SmolLM2-135M-Instruct on shell-recipes: LoRA of rank 8 and alpha 16 on q and v, batch 8, learning rate 1e-3 linear with 10
warm-up steps, 164 steps. Each side draws its own first A and its own order of the rows.

    npm run build && node bench/trl/epoch.mjs --peers DIR

${machineLine(machine)}

Test loss in nats per label token, averaged over all tokens, and as \`Trainer.evaluate\` of transformers averages: the mean over
batches of 8 rows of each batch's mean.

| model | evaluated by | tokens and labels | over tokens | over batches |
|-|-|-|-|-|
${lines.join("\n")}

Reported by the runs themselves: TRL ${reported.trl.map(four).join(" → ")} (over batches)${ownReport(reported.lowrank)}.
After training, over tokens: lowrank ${four(after[0])}, TRL ${four(after[1])}, difference ${four(after[0] - after[1])}.
\`lowrank evaluate\` says ${Object.entries(losses)
    .map(([name, l]) => `${four(l.evaluated)} ${name}`)
    .join(", ")} (over tokens).
lowrank and PyTorch differ by at most ${worst.toExponential(1)} nats per token on any row under the same adapter.

Tokens of the rows (${total} differ). In a user's text lowrank keeps what looks like a special token literal; transformers reads it as
the special token. lowrank splits digits one by one, as the GGUF file's pre-tokenizer \`smollm\` says; transformers leaves that step out
when it rebuilds a tokenizer from a GGUF file. The newline that the chat template writes after the answer is a label on both
sides.

${["train", "test"].map((split) => rowsLine(split, rows[split])).join("\n")}
`;
}

function ownReport([before, after]) {
  return before === undefined ? "" : `, lowrank ${four(before)} → ${four(after)} (over tokens)`;
}

function rowsLine(split, { rows, labels, different }) {
  const groups = new Map();
  for (const { row, ours, theirs } of different) {
    const what = `${tokens(ours)} here, ${tokens(theirs)} in TRL`;
    groups.set(what, [...(groups.get(what) ?? []), row]);
  }
  const reasons = [...groups].map(([what, list]) => `\n  - ${what}: line ${list.join(", ")}`).join("");
  const amount = `${rows[0]} rows, ${labels[0]} labels (TRL ${rows[1]} and ${labels[1]})`;
  return `- ${split}: ${amount}; rows with other tokens or labels: ${different.length}${reasons}`;
}

function tokens(list) {
  return list.map((token) => `\`${token}\``).join(" ") || "nothing";
}
