import { machineLine } from "../../bench/lib/machine.mjs";

/** Of the largest logit. float32 sums in another order differ by about 1e-6 relative in a forward pass of these models;
 *  merging, decompositions and magnitudes of weights add a few roundings. */
const TOLERANCE = 2e-5;
/** What an adapter changes must be so many times what is allowed, or its loss would not be noticed. */
const MIN_EFFECT = 1000;

const small = (x) => x.toExponential(1);

function problemOf(side) {
  if (side === null) return null;
  const { failure, error, effect, largest } = side;
  if (failure) return failure;
  const allowed = TOLERANCE * Math.max(1, largest);
  if (!(error <= allowed)) return `logits differ by ${small(error)}, allowed ${small(allowed)}`;
  if (!(effect >= MIN_EFFECT * allowed)) return `the adapter changes logits by ${small(effect)} only`;
  return null;
}

function cells(side) {
  if (side === null) return ["PEFT has none", "", ""];
  if (side.failure) return ["**fails**", "", ""];
  const { error, effect, largest } = side;
  return [problemOf(side) ? `**${small(error)}**` : small(error), effect.toFixed(2), largest.toFixed(2)];
}

/** The comparison as Markdown, and what is not within tolerance. */
export function peftReport({ machine, rows, steps, missing }) {
  const title = ({ peftType, variant }) => (variant ? `${peftType}, ${variant}` : peftType);
  const failures = rows.flatMap((row) =>
    Object.entries({
      "written here, read by PEFT": row.toPeft,
      "written by PEFT, read here": row.fromPeft,
    }).flatMap(([direction, side]) => {
      const problem = problemOf(side);
      return problem ? [`${title(row)}, ${row.model}, ${direction}: ${problem}`] : [];
    }),
  );
  const lines = rows.map(
    (row) => `| ${[title(row), row.model, ...cells(row.toPeft), ...cells(row.fromPeft)].join(" | ")} |`,
  );
  const left =
    missing.length > 0
      ? `\nNot compared, because lowrank has no such method yet: ${missing.join(", ")}.\n`
      : "";
  const verdict =
    failures.length === 0 ? "All are within tolerance." : `**${failures.length} are not within tolerance.**`;
  const text = `# Adapters between lowrank and PEFT

Tiny models (test/fixtures/models), float32. Left: adapters that lowrank trained for ${steps} steps and wrote, loaded by PEFT. Right:
adapters that PEFT made and saved, all trained values moved from their start (AdaLoRA after its rank allocator), loaded by
lowrank. Error: largest difference of a logit between the two programs at 24 positions, allowed ${small(TOLERANCE)} of the largest logit;
effect: largest change that the adapter makes, which must be ${MIN_EFFECT} times what is allowed.

    npm run build && node test/interop/peft.mjs --peers DIR

${machineLine(machine)}

${verdict} ${rows.length} adapters written here, ${rows.filter((r) => r.fromPeft).length} by PEFT.
${left}
| adapter | model | here → PEFT: error | effect | largest logit | PEFT → here: error | effect | largest logit |
|-|-|-|-|-|-|-|-|
${lines.join("\n")}
`;
  return { text, failures };
}
