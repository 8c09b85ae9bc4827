import type { Role } from "../../text/messages.ts";
import { field } from "./fields.ts";
import type { DataFormat, DataRecord } from "./format.ts";
import { parseTurns, type TurnNames } from "./turns.ts";

const ROLES: readonly Role[] = ["system", "user", "assistant", "tool"];
const NAMES: TurnNames = {
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

/** OpenAI's chat format: `messages`, a list of `{role, content}`; several assistant turns are all learned. */
export const messages: DataFormat = {
  name: "messages",
  description: "a list `messages` of {role, content}",
  detect: (record) => listName(record) !== undefined,
  parse(record, mapping, report) {
    const name = mapping.messagesField ?? listName(record) ?? "messages";
    const turns = parseTurns(record, name, NAMES, report);
    return turns === null ? null : { kind: "conversation", messages: turns };
  },
};
