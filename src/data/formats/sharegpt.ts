import type { Role } from "../../text/messages.ts";
import { field, optionalTextField } from "./fields.ts";
import type { DataFormat } from "./format.ts";
import { parseTurns, type TurnNames } from "./turns.ts";

const NAMES: TurnNames = {
  roleKey: "from",
  contentKey: "value",
  roles: new Map<string, Role>([
    ["system", "system"],
    ["human", "user"],
    ["user", "user"],
    ["gpt", "assistant"],
    ["assistant", "assistant"],
    ["chatgpt", "assistant"],
    ["tool", "tool"],
    ["observation", "tool"],
  ]),
};

/** ShareGPT's format: `conversations`, a list of `{from, value}`; `system` may stand beside the list. */
export const sharegpt: DataFormat = {
  name: "sharegpt",
  description: "a list `conversations` of {from: human | gpt | system, value}",
  detect(record) {
    const list = field(record, "conversations");
    return Array.isArray(list) && Object.hasOwn(Object(list[0]), "from");
  },
  parse(record, mapping, report) {
    const turns = parseTurns(record, mapping.messagesField ?? "conversations", NAMES, report);
    const system = optionalTextField(record, mapping.systemField ?? "system", report);
    if (turns === null || system === null) return null;
    const first = system === "" ? [] : [{ role: "system" as const, content: system }];
    return { kind: "conversation", messages: [...first, ...turns] };
  },
};
