/** Rows [{ loss: Σ nats over labels, labels }] averaged in two ways.
 *  `tokens`: Σ loss / Σ labels, nats per label token. What lowrank reports.
 *  `batches`: mean over batches of each batch's own mean, a batch weighing as many rows as it has. What
 *  `Trainer.evaluate` of transformers reports: every token of a batch with few labels weighs more. */
export function averages(rows, batchSize = 8) {
  const sum = (part, field) => part.reduce((n, row) => n + row[field], 0);
  let weighted = 0;
  for (let i = 0; i < rows.length; i += batchSize) {
    const batch = rows.slice(i, i + batchSize);
    weighted += (batch.length * sum(batch, "loss")) / sum(batch, "labels");
  }
  return { tokens: sum(rows, "loss") / sum(rows, "labels"), batches: weighted / rows.length };
}

/** The part in which two lists differ: [of the first, of the second]. */
function differingPart(a, b) {
  const shorter = Math.min(a.length, b.length);
  let start = 0;
  while (start < shorter && a[start] === b[start]) start++;
  let end = 0;
  while (end < shorter - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  return [a.slice(start, a.length - end), b.slice(start, b.length - end)];
}

/** Rows {ids, labels} of two sides, one by one; `token` names an id. */
export function compareRows(ours, theirs, token) {
  const different = ours.flatMap((row, i) => {
    const other = theirs[i] ?? { ids: [], labels: [] };
    const parts = differingPart(row.ids, other.ids).map((ids) => ids.map(token));
    const isSame = `${row.ids}` === `${other.ids}` && `${row.labels}` === `${other.labels}`;
    return isSame ? [] : [{ row: i + 1, ours: parts[0], theirs: parts[1] }];
  });
  const count = (rows) => rows.reduce((n, row) => n + row.labels.reduce((a, b) => a + b, 0), 0);
  return { rows: [ours.length, theirs.length], labels: [count(ours), count(theirs)], different };
}
