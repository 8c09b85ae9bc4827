import { completionField, field } from "./fields.ts";
import type { DataFormat } from "./format.ts";

/** Plain text: every token is learned. */
export const text: DataFormat = {
  name: "text",
  description: "a field `text`, or a .txt file",
  fields: ["textField"],
  detect: (record) => typeof field(record, "text") === "string",
  parse(record, mapping, report) {
    const value = completionField(record, mapping.textField ?? "text", report);
    return value === null ? null : { kind: "text", text: value };
  },
};
