import { jsonEnd, jsonFields, jsonValues, skipSpace } from "./json-scan.ts";

/** A tool that a model calls. */
export interface ToolCall {
  readonly name: string;
  /** A JSON object, as the model wrote it. */
  readonly arguments: string;
}

/** What stands behind an opening: calls, and the length of their text; or nothing whole yet; or none. */
export type ToolCallRead =
  | { readonly calls: readonly ToolCall[]; readonly length: number }
  | "incomplete"
  | "malformed";

/** What stands around calls where a model writes them: `opening`, the first call, for each further one `between` and the call, `closing`. */
export interface WrittenCalls {
  readonly opening: string;
  readonly closing: string;
  /** What stands before and after a call's arguments. */
  around(name: string): readonly [string, string];
  /** null: the template takes one call at a time. */
  readonly between: string | null;
}

/** A way to write tool calls. */
export interface ToolCallForm {
  readonly name: string;
  /** A model whose chat template reads like this writes its calls in this form. */
  detect(template: string): boolean;
  /** Texts that a call begins with. */
  readonly openings: readonly string[];
  /** What a call may begin with instead where nothing but calls stands before it; "" for nothing. */
  readonly bareOpening: string;
  /** What may stand between calls beside white space; "" for nothing. */
  readonly separator: string;
  /** Tokens of the form, which a text must hold even where they are special. */
  readonly tokens: readonly string[];
  /** How its templates write calls; models also write other things that `read` takes. */
  readonly written: WrittenCalls;
  /** Reads calls at the start of a text that follows an opening. `isWhole`: nothing more will come. */
  read(text: string, isWhole: boolean): ToolCallRead;
}

const CLOSING = "</tool_call>";

/** `<tool_call>{"name", "arguments"}</tool_call>` of Hermes, Qwen 2.5 and 3 and SmolLM3; SmolLM2 writes a list of calls between the tags.
 *  As in vLLM's hermes parser, the closing tag may be missing at the end. */
const hermes: ToolCallForm = {
  name: "hermes",
  // Others put XML between the same tags: Qwen3-Coder and its kin <function=…>, GLM <arg_key>.
  detect: (template) => template.includes("<tool_call>") && !/<function=|<arg_key>/.test(template),
  openings: ["<tool_call>"],
  bareOpening: "",
  separator: "",
  tokens: ["<tool_call>", CLOSING],
  written: {
    ...{ opening: "", between: "\n", closing: "" },
    around: (name) => [`<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": `, `}\n${CLOSING}`],
  },
  read: (text, isWhole) => {
    const end = jsonEnd(text, 0);
    if (end < 0) return /^\s*([{[]|$)/.test(text) ? "incomplete" : "malformed";
    const calls = callsOf(text.slice(0, end), ["arguments", "parameters"], "{}");
    if (calls === null) return "malformed";
    const at = skipSpace(text, end);
    const rest = text.slice(at);
    if (rest.startsWith(CLOSING)) return { calls, length: at + CLOSING.length };
    if (isWhole) return rest === "" ? { calls, length: at } : "malformed";
    return CLOSING.startsWith(rest) ? "incomplete" : "malformed";
  },
};

/** `{"name", "parameters"}` of Llama 3.x, alone or behind `<|python_tag|>`, several with ";" between. As in vLLM's llama3_json parser, a
 *  call without tag counts only where the answer begins with it, and its arguments may have either name. */
const llama: ToolCallForm = {
  name: "llama",
  detect: (template) => /\{\\?"name\\?": ?function name, \\?"parameters\\?":/.test(template),
  openings: ["<|python_tag|>"],
  bareOpening: "{",
  separator: ";",
  tokens: ["<|python_tag|>"],
  written: {
    ...{ opening: "", between: null, closing: "" },
    around: (name) => [`{"name": ${JSON.stringify(name)}, "parameters": `, "}"],
  },
  read: (text) => {
    const start = skipSpace(text, 0);
    if (start < text.length && text[start] !== "{") return "malformed";
    const end = jsonEnd(text, 0);
    if (end < 0) return "incomplete";
    const calls = callsOf(text.slice(0, end), ["parameters", "arguments"], null);
    return calls === null ? "malformed" : { calls, length: end };
  },
};

/** `[TOOL_CALLS][{"name", "arguments"}, …]` of Mistral. Also read: `[TOOL_CALLS]name{…}`. */
const mistral: ToolCallForm = {
  name: "mistral",
  detect: (template) => template.includes("[TOOL_CALLS]"),
  openings: ["[TOOL_CALLS]"],
  bareOpening: "",
  separator: "",
  tokens: ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
  written: {
    ...{ opening: "[TOOL_CALLS][", between: ", ", closing: "]" },
    around: (name) => [`{"name": ${JSON.stringify(name)}, "arguments": `, "}"],
  },
  read: (text) => {
    if (/^\s*(\[|$)/.test(text)) {
      const end = jsonEnd(text, 0);
      if (end < 0) return "incomplete";
      const calls = callsOf(text.slice(0, end), ["arguments", "parameters"], "{}");
      return calls === null ? "malformed" : { calls, length: end };
    }
    const head = /^\s*([\w.-]+)\s*(?:\[CALL_ID\][\w-]+\s*)?(?:\[ARGS\]\s*)?(?=\{)/.exec(text);
    if (head === null) return /^\s*[\w.-]+\s*(\[[\w\]-]*)*\s*$/.test(text) ? "incomplete" : "malformed";
    const end = jsonEnd(text, head[0].length);
    if (end < 0) return "incomplete";
    const values = text.slice(head[0].length, end);
    if (jsonFields(values) === null) return "malformed";
    return { calls: [{ name: head[1] as string, arguments: values }], length: end };
  },
};

/** `[TOOL_CALLS] [{…}, …]`, as Mistral 7B v0.3 has it. */
const mistralSpaced: ToolCallForm = {
  ...mistral,
  name: "mistral-spaced",
  detect: (template) => template.includes("[TOOL_CALLS] ["),
  written: { ...mistral.written, opening: "[TOOL_CALLS] [" },
};

/** `[TOOL_CALLS]name[ARGS]{…}` of Mistral's later tokenizers. */
const mistralArgs: ToolCallForm = {
  ...mistral,
  name: "mistral-args",
  detect: (template) => template.includes("[TOOL_CALLS]") && template.includes("[ARGS]"),
  written: {
    ...{ opening: "", between: "", closing: "" },
    around: (name) => [`[TOOL_CALLS]${name}[ARGS]`, ""],
  },
};

/** Every form; the first that a template shows is its model's. */
export const TOOL_CALL_FORMS: readonly ToolCallForm[] = [mistralArgs, mistralSpaced, mistral, llama, hermes];

/** The form in which a model writes calls, by its chat template; null: it calls no tools, or in none of the forms. */
export function toolCallForm(template: string): ToolCallForm | null {
  return TOOL_CALL_FORMS.find((form) => form.detect(template)) ?? null;
}

/** The calls of a JSON object, or of a list of them; null if one of them is no call. `fallback`: arguments where there are none;
 *  null: there must be some. */
function callsOf(json: string, names: readonly string[], fallback: string | null): ToolCall[] | null {
  const calls = (jsonValues(json) ?? [json]).map((one) => callOf(one, names, fallback));
  return calls.every((call) => call !== null) ? calls : null;
}

function callOf(json: string, names: readonly string[], fallback: string | null): ToolCall | null {
  const fields = jsonFields(json);
  const name: unknown = JSON.parse(fields?.get("name") ?? "null");
  if (!fields || typeof name !== "string" || name === "") return null;
  const given = names.map((field) => fields.get(field)).find((value) => value !== undefined);
  const values = given === undefined ? fallback : unquoted(given);
  return values === null || jsonFields(values) === null ? null : { name, arguments: values };
}

/** Arguments that a model wrote as a text of JSON, as OpenAI has them. */
function unquoted(value: string): string {
  return value.startsWith('"') ? (JSON.parse(value) as string) : value;
}
