import type { Message } from "../../text/messages.ts";

/** One record of a data file, as read: field → value. */
export type DataRecord = Readonly<Record<string, unknown>>;

/** A record with somebody to answer: the loss is on the assistant's turns. */
export interface Conversation {
  readonly kind: "conversation";
  readonly messages: readonly Message[];
  /** Indices of assistant turns that are read only: somebody marked them so, or they are part of a prompt. */
  readonly unlearned?: readonly number[];
  /** Descriptions of the tools that the assistant may call. */
  readonly tools?: readonly unknown[];
  /** Answers that are as good as the last one, to be compared with; they are not learned. */
  readonly references?: readonly string[];
  /** Variables of the chat template for this row (`chat_template_kwargs`). */
  readonly templateArgs?: Readonly<Record<string, unknown>>;
  /** A prompt and a completion that were plain texts: where the prompt holds chat markup already, both are taken as they are. */
  readonly isPlain?: boolean;
}

/** A record without roles: the loss is on every token. */
export interface PlainText {
  readonly kind: "text";
  readonly text: string;
}

/** A text or a pair of texts, and what it is to be told as. */
export interface Labelled {
  readonly kind: "labelled";
  readonly text: string;
  readonly pair: string | null;
  /** A label's name or number, or a value. */
  readonly label: string | number;
}

/** A training row, whatever format it came in. */
export type Row = Conversation | PlainText | Labelled;

/** Which fields of a record mean what; a format has its usual names for those left out. */
export interface FieldMapping {
  readonly promptField?: string | undefined;
  readonly completionField?: string | undefined;
  /** Field with a system message (prompt-completion, alpaca). */
  readonly systemField?: string | undefined;
  /** Prompt made of several fields: "Translate to {{language}}: {{text}}". */
  readonly promptTemplate?: string | undefined;
  /** Field with the list of turns (messages, sharegpt). */
  readonly messagesField?: string | undefined;
  /** Field with a list of answers that are equally good, to compare answers with (prompt-completion, messages). */
  readonly referencesField?: string | undefined;
  /** Field with plain text, or with the text that has a label. */
  readonly textField?: string | undefined;
  /** Field with the second text of a pair (classification). */
  readonly pairField?: string | undefined;
  /** Field with the label (classification). */
  readonly labelField?: string | undefined;
}

/** Why a row cannot be used: something about it is wrong, or there is nothing in it to learn. */
export type BadRow = "malformed" | "empty";

/** Notes one thing wrong with the record being parsed; by default it is malformed. */
export type Report = (message: string, reason?: BadRow) => void;

/** How one kind of record becomes a training row. */
export interface DataFormat {
  readonly name: string;
  readonly description: string;
  /** What may be named in it. */
  readonly fields: readonly (keyof FieldMapping)[];
  /** Whether a record looks like this format under its usual field names. */
  detect(record: DataRecord): boolean;
  /** The row, or null if something is wrong with the record, which is then reported. */
  parse(record: DataRecord, mapping: FieldMapping, report: Report): Row | null;
}
