import { median } from "./statistics.mjs";

/** One line of the table: what this project reached, what stands beside it, and the target.
 *  `ours`, `theirs`: one value per round; `theirs` null where there is nothing beside it. `target`: { of: "ratio" | "value",
 *  atLeast | atMost }; null where the issue sets none. */
export function comparison({ what, unit, ours, peer = null, theirs = null, target = null, note = "" }) {
  const [value, other] = [median(ours), theirs === null ? null : median(theirs)];
  const ratio = other === null ? null : value / other;
  return {
    what,
    unit,
    ours,
    value,
    peer,
    theirs,
    other,
    ratio,
    target,
    met: isMet(target, { ratio, value }),
    note,
  };
}

/** A line that cannot be measured here, and why. */
export function skipped(what, reason) {
  return { what, skipped: reason };
}

function isMet(target, measured) {
  if (target === null || measured[target.of] === null) return null;
  const x = measured[target.of];
  return target.atLeast === undefined ? x <= target.atMost : x >= target.atLeast;
}

/** Three significant digits, without an exponent where it can be read. */
export function short(x) {
  if (x === null) return "";
  if (x === 0 || (Math.abs(x) >= 0.001 && Math.abs(x) < 1e6))
    return Math.abs(x) >= 100 ? x.toFixed(0) : String(Number(x.toPrecision(3)));
  return x.toExponential(1);
}

function targetText({ target, unit }) {
  if (target === null) return "";
  const sign = target.atLeast === undefined ? "≤" : "≥";
  const bound = target.atLeast ?? target.atMost;
  return target.of === "ratio" ? `${sign} ${bound}×` : `${sign} ${bound} ${unit}`;
}

const VERDICT = new Map([
  [true, "met"],
  [false, "**not met**"],
  [null, ""],
]);

/** The lines of one row as a Markdown table. */
export function comparisonTable(lines) {
  const cells = lines.map((line) => {
    if (line.skipped !== undefined) return [line.what, "", "", "", "", "", `skipped: ${line.skipped}`];
    const theirs = line.other === null ? "" : `${short(line.other)} (${line.peer})`;
    const ratio = line.ratio === null ? "" : `${line.ratio.toFixed(2)}×`;
    const own = `${short(line.value)} ${line.unit}`;
    return [line.what, own, theirs, ratio, targetText(line), VERDICT.get(line.met), line.note];
  });
  const head = ["", "lowrank", "beside it", "ratio", "target", "", ""];
  return [head, head.map(() => "-"), ...cells].map((row) => `| ${row.join(" | ")} |`).join("\n");
}
