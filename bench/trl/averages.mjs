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

/** Rows {ids, labels} of two sides, one by one. */
export function compareRows(ours, theirs) {
  const different = ours.flatMap((row, i) => {
    const other = theirs[i] ?? { ids: [], labels: [] };
    const ids = `${row.ids}` === `${other.ids}`;
    return ids && `${row.labels}` === `${other.labels}`
      ? []
      : [{ row: i, sameIds: ids, ours: row, theirs: other }];
  });
  const count = (rows) => rows.reduce((n, row) => n + row.labels.reduce((a, b) => a + b, 0), 0);
  return { rows: [ours.length, theirs.length], labels: [count(ours), count(theirs)], different };
}
