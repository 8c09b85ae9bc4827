import type { Role } from "../../text/messages.ts";
import { chatRow } from "./chat-row.ts";
import { field } from "./fields.ts";
import type { DataFormat, DataRecord } from "./format.ts";
import { refusesPreference } from "./preferences.ts";
import { parseTurns, type TurnNames } from "./turns.ts";

const ROLES: readonly Role[] = ["system", "user", "assistant", "tool", "developer", "function", "ipython"];

/** OpenAI's names. */
export const CHAT_NAMES: TurnNames = {
  roleKey: "role",
  contentKey: "content",
  roles: new Map(ROLES.map((role) => [role, role])),
};

/** Lists of `{role, content}` go by several names. */
function listName(record: DataRecord): string | undefined {
  return ["messages", "conversations", "conversation"].find((name) => {
    const list = field(record, name);
    return Array.isArray(list) && Object.hasOwn(Object(list[0]), "role");
  });
}

/** OpenAI's chat format: `messages`, a list of `{role, content}`; several assistant turns are all learned, except those with
 *  `weight: 0`, `train: false` or `loss: false`. Beside the list: `tools`, `system`, `chat_template_kwargs`. */
export const messages: DataFormat = {
  name: "messages",
  description: "a list `messages` of {role, content}",
  fields: ["messagesField", "systemField", "referencesField"],
  detect: (record) => listName(record) !== undefined,
  parse(record, mapping, report) {
    if (refusesPreference(record, mapping, report)) return null;
    const name = mapping.messagesField ?? listName(record) ?? "messages";
    const turns = parseTurns(record, name, CHAT_NAMES, report);
    return turns && chatRow(record, turns, mapping, report);
  },
};
