import type { JsonSchema } from "./json-schema.ts";

/** What an answer must be. */
export type AnswerForm =
  /** These words. */
  | { readonly kind: "text"; readonly text: string }
  /** JSON that fits, on one line. */
  | { readonly kind: "json"; readonly schema: JsonSchema }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly AnswerForm[] }
  /** As often as one likes, or not at all. */
  | { readonly kind: "repeat"; readonly part: AnswerForm }
  /** Any text; where `trigger` stands in it, `then` must follow, and after it more text if `goesOn`. */
  | { readonly kind: "free"; readonly trigger: string; readonly then: AnswerForm; readonly goesOn: boolean };

/** A grammar as the library reads it. */
export interface GrammarText {
  readonly text: string;
  /** Name of the rule that an answer is. */
  readonly root: string;
}

/** A form as a grammar. `rulesOf`: rules of a schema, with a rule "root" (`schemaRules`). */
export async function grammarText(
  form: AnswerForm,
  rulesOf: (schema: JsonSchema) => Promise<string>,
): Promise<GrammarText> {
  const rules = new Set<string>(); // what all schemas have in common stands there once
  const roots = new Map<string, string>();
  let named = 0;

  const rule = (expression: string): string => {
    const name = `part_${named++}`;
    rules.add(`${name} ::= ${expression}`);
    return name;
  };
  const schemaRule = async (schema: JsonSchema): Promise<string> => {
    const key = JSON.stringify(schema);
    const known = roots.get(key);
    if (known !== undefined) return known;
    const prefix = `schema_${roots.size}_`;
    roots.set(key, `${prefix}root`);
    for (const line of renamed(await rulesOf(schema), prefix).split("\n")) if (line !== "") rules.add(line);
    return `${prefix}root`;
  };
  const expression = async (one: AnswerForm): Promise<string> => {
    switch (one.kind) {
      case "text":
        return JSON.stringify(one.text);
      case "json":
        return schemaRule(one.schema);
      case "repeat":
        return `(${await expression(one.part)})*`;
      case "free": {
        const then = rule(await expression(one.then));
        const trigger = `(${JSON.stringify(one.trigger)}, ${then})`;
        return rule(`TagDispatch(${trigger}, stop_eos=true, stop_str=(), loop_after_dispatch=${one.goesOn})`);
      }
      default: {
        const parts: string[] = [];
        for (const part of one.parts) parts.push(await expression(part));
        return `(${parts.join(one.kind === "choice" ? " | " : " ")})`;
      }
    }
  };
  const root = rule(await expression(form));
  return { text: `${[...rules].join("\n")}\n`, root };
}

/** Rules with a prefix before their names; those of any JSON value, which are the same in every schema, keep theirs. */
function renamed(rules: string, prefix: string): string {
  const stringsClassesAndNames = /"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[A-Za-z_]\w*/g;
  return rules.replace(stringsClassesAndNames, (part) => (/^["[]|^basic_/.test(part) ? part : prefix + part));
}
