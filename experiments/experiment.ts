import type { Lab } from "./lab/lab.ts";
import type { Size } from "./lab/sizes.ts";

/** A cell of a table: a text, a number, or nothing. */
export type Entry = string | number | null;

/** A table of the page, and a CSV file. */
export interface Table {
  /** Name of its file, without ending. */
  readonly name: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Entry[])[];
}

/** Points of one line or cloud. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A chart of the page. */
export interface Figure {
  readonly title: string;
  readonly x: { readonly name: string; readonly log?: boolean };
  readonly y: { readonly name: string; readonly log?: boolean };
  readonly kind: "line" | "points";
  readonly series: readonly Series[];
}

/** A matrix as a heat map: values in [0, 1], row by row. */
export interface Heat {
  readonly title: string;
  readonly rows: string;
  readonly columns: string;
  readonly values: readonly (readonly number[])[];
}

/** What the measurements say of a claim. */
export type Verdict = "held" | "did not hold" | "cannot be told";

/** A claim of the paper, and whether it held here by the test that was stated beforehand. */
export interface Claim {
  readonly text: string;
  /** The test, stated before anything was measured. */
  readonly test: string;
  readonly verdict: Verdict;
  /** The numbers that it rests on. */
  readonly because: string;
}

/** What an experiment found. */
export interface Findings {
  readonly claims: readonly Claim[];
  readonly tables: readonly Table[];
  readonly figures?: readonly Figure[];
  readonly heats?: readonly Heat[];
  /** What a reader must know to read the numbers rightly. */
  readonly notes: readonly string[];
}

/** One table or figure of the paper. */
export interface Experiment {
  readonly name: string;
  /** Where it is in the paper: "§7.2, Table 6". */
  readonly section: string;
  readonly title: string;
  /** What it asks, for somebody who has not read the paper. */
  readonly question: string;
  /** MathML, where a formula helps. */
  readonly formula?: string;
  /** What the paper got. */
  readonly theirs: string;
  /** Raised when cells measured before no longer count. */
  readonly version: number;
  /** Takes its cells from the lab and says what they mean. While cells are counted, the lab gives results of NaN. */
  measure(lab: Lab, size: Size): Promise<Findings>;
}
