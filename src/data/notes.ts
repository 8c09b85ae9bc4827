import { formatWhere, type Where } from "./place.ts";

/** Something about rows that is no fault, but that nobody would expect. */
export type NoteKind =
  | "departure"
  | "leadIn"
  | "opening"
  | "excluded"
  | "unmarked"
  | "field"
  | "hidden"
  | "literal"
  | "markup"
  | "rewritten"
  | "emptyRow"
  | "malformedRow"
  | "twice"
  | "nan"
  | "separator";

/** How often it was met, and where first. */
export interface DataNote {
  readonly kind: NoteKind;
  /** What it is about: a field, a token, a text. "" for kinds that are about nothing in particular. */
  readonly subject: string;
  readonly count: number;
  readonly first: Where;
}

/** Takes a note of the row at hand. */
export type TakeNote = (kind: NoteKind, subject?: string) => void;

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
const turns = (n: number): string => count(n, "assistant turn");
const rows = (n: number): string => (n === 1 ? "1 row has" : `${n} rows have`);

const SENTENCES: Readonly<Record<NoteKind, (count: number, subject: string) => string>> = {
  departure: (n, subject) =>
    `in ${turns(n)} the chat template's prompt is not what stands before the answer in the conversation: ${subject}. The prompt ` +
    "stays as generation sends it, and the answer follows it",
  leadIn: (n, subject) =>
    `in ${turns(n)} the chat template writes ${subject} before the answer, which is not in the prompt: the model learns to write it, ` +
    "and generation leaves it out of the answer",
  opening: (n) =>
    `${turns(n)} without a turn before them are read only: the chat template makes no prompt for them`,
  excluded: (n) => `${turns(n)} are read only, as the rows say (weight, train, loss, or part of the prompt)`,
  unmarked: (n) => `${turns(n)} are read only: they are outside the chat template's {% generation %} blocks`,
  field: (n, subject) => `the chat template does not use ${subject}, which ${rows(n)}`,
  hidden: (n, subject) =>
    `the chat template leaves out what ${subject} says in ${n} ${n === 1 ? "turn" : "turns"}`,
  literal: (n, subject) =>
    `${subject} in the contents of messages is taken literally, not as a special token, in ${count(n, "row")}`,
  markup: (n, subject) =>
    `${n === 1 ? "the prompt of 1 row holds" : `the prompts of ${n} rows hold`} chat markup (${subject}): prompt and completion are ` +
    "taken as they are, without the chat template",
  rewritten: (n) =>
    `in ${count(n, "row")} earlier turns are written otherwise once others follow: each turn is learned as it is in use, in ` +
    "sequences that share what they begin with",
  emptyRow: (n, subject) => `${count(n, "row")} left out, with nothing to learn: ${subject}`,
  malformedRow: (n, subject) => `${count(n, "malformed row")} left out, the first: ${subject}`,
  twice: (n, subject) =>
    `the key ${JSON.stringify(subject)} stands twice in ${count(n, "row")}: the last one counts`,
  nan: (n, subject) => `${JSON.stringify(subject)} is NaN in ${count(n, "row")}: read as a missing value`,
  separator: (_n, subject) =>
    `the header has several of , ; and tab: the first records are a table with ${JSON.stringify(subject)}, which is taken`,
};

/** A note as a sentence, with the first place. */
export function noteText({ kind, subject, count: n, first }: DataNote): string {
  return `${SENTENCES[kind](n, subject)} (first: ${formatWhere(first)})`;
}

/** Kinds of notes whose subjects differ from row to row: of these only the first is kept. */
const ONE_SUBJECT: ReadonlySet<NoteKind> = new Set(["departure", "leadIn", "malformedRow"]);

/** Notes over the rows of a data set. */
export interface NoteList {
  at(where: Where): TakeNote;
  notes(): DataNote[];
}

/** An empty list of notes. */
export function noteList(): NoteList {
  const notes = new Map<string, { -readonly [K in keyof DataNote]: DataNote[K] }>();
  return {
    at:
      (first) =>
      (kind, subject = "") => {
        const key = ONE_SUBJECT.has(kind) ? kind : `${kind} ${subject}`;
        const known = notes.get(key);
        if (known) known.count++;
        else notes.set(key, { kind, subject, count: 1, first });
      },
    notes: () => [...notes.values()],
  };
}
