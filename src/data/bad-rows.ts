import type { BadRow, Report } from "./formats/format.ts";
import type { NoteList } from "./notes.ts";
import { formatWhere, type Where } from "./place.ts";
import type { ProblemList } from "./problems.ts";

/** What becomes of rows that cannot be used: left out, or an error. Without it malformed rows are an error, and empty ones are left
 *  out and counted. */
export type OnBadRow = "drop" | "error";

/** What is wrong with one row. */
export interface RowReport {
  readonly report: Report;
  /** To be called once all is reported. */
  settle(): void;
}

/** Decides about rows that cannot be used. `onDropped`: told of each that is left out. */
export function badRows(
  policy: OnBadRow | null,
  problems: ProblemList,
  notes: NoteList,
  onDropped: () => void = () => undefined,
): (where: Where) => RowReport {
  return (where) => {
    const found: { readonly message: string; readonly reason: BadRow }[] = [];
    return {
      report: (message, reason = "malformed") => found.push({ message, reason }),
      settle: () => {
        const [first] = found;
        if (first === undefined) return;
        const isEmpty = found.every(({ reason }) => reason === "empty");
        if (policy === "drop" || (policy === null && isEmpty)) {
          notes.at(where)(isEmpty ? "emptyRow" : "malformedRow", first.message);
          onDropped();
        } else for (const { message } of found) problems.add(formatWhere(where), message);
      },
    };
  };
}
