import type { ReadContext, SourceRecord } from "../record.ts";
import { readLines } from "./lines.ts";

/** Plain text as records `{text}`: the whole file, its paragraphs, or its lines; blank ones are left out. */
export async function* readText(file: string, context: ReadContext): AsyncGenerator<SourceRecord> {
  let parts: string[] = [];
  let bytes = 0;
  let start = 1;
  const flush = (): SourceRecord | null => {
    const text = parts.join("\n");
    parts = [];
    bytes = 0;
    return text.trim() === "" ? null : { record: { text }, where: { file, line: start, unit: "line" } };
  };
  for await (const { text, line } of readLines(file, context)) {
    if (parts.length === 0) start = line;
    const blank = text.trim() === "";
    bytes += text.length + 1;
    if (bytes > context.maxLineBytes) {
      const hint = "read it by paragraph or by line";
      context.problems.add(file, `longer than ${context.maxLineBytes.toLocaleString("en")} bytes: ${hint}`);
      return;
    }
    if (context.textUnit !== "paragraph" || !blank) parts.push(text);
    const ends = context.textUnit === "line" || (context.textUnit === "paragraph" && blank);
    const record = ends ? flush() : null;
    if (record !== null) yield record;
  }
  const last = flush();
  if (last !== null) yield last;
}
