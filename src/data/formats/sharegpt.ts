import type { Role } from "../../text/messages.ts";
import { chatRow } from "./chat-row.ts";
import { field } from "./fields.ts";
import type { DataFormat } from "./format.ts";
import { refusesPreference } from "./preferences.ts";
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

/** ShareGPT's format: `conversations`, a list of `{from, value}`; beside it and in turns may stand what `messages` has. */
export const sharegpt: DataFormat = {
  name: "sharegpt",
  description: "a list `conversations` of {from: human | gpt | system, value}",
  fields: ["messagesField", "systemField"],
  detect(record) {
    const list = field(record, "conversations");
    return Array.isArray(list) && Object.hasOwn(Object(list[0]), "from");
  },
  parse(record, mapping, report) {
    if (refusesPreference(record, mapping, report)) return null;
    const turns = parseTurns(record, mapping.messagesField ?? "conversations", NAMES, report);
    return turns && chatRow(record, turns, mapping, report);
  },
};
