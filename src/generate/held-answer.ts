import type { Problem } from "../errors.ts";
import type { ToolCallForm } from "../text/tool-call-forms.ts";
import type { AnswerForm } from "./answer-form.ts";
import { type JsonSchema, type SchemaSize, schemaProblems } from "./json-schema.ts";

/** What an answer must be: any JSON object, or what fits a schema. */
export type ResponseFormat = "json" | JsonSchema;

/** Whether tools are called: the model decides, some must be, or this one. */
export type ToolChoice = "auto" | "required" | { readonly name: string };

/** What a request says of the form of its answer. */
export interface AnswerWishes {
  readonly responseFormat?: ResponseFormat;
  readonly tools?: readonly unknown[];
  readonly toolChoice?: ToolChoice;
  readonly parallelToolCalls?: boolean;
}

/** What an answer is held to, and why it cannot be. */
export interface HeldAnswer {
  /** null: to nothing. */
  readonly form: AnswerForm | null;
  readonly problems: readonly Problem[];
}

/** A tool whose calls are held to something. */
interface HeldTool {
  readonly name: string;
  readonly arguments: AnswerForm;
}

const ANY_OBJECT: JsonSchema = { type: "object" };

/** The form of the answer to a request. `calls`: how the model writes calls; null: in no known form. */
export function heldAnswer(wishes: AnswerWishes, calls: ToolCallForm | null): HeldAnswer {
  const { responseFormat: format, toolChoice = "auto", tools = [], parallelToolCalls = true } = wishes;
  const problems: Problem[] = [];
  const size: SchemaSize = { nodes: 0, lengths: 0 };
  const isOne = !parallelToolCalls;
  const mustCall = toolChoice !== "auto";
  const json: AnswerForm[] = format === undefined ? [] : [{ kind: "json", schema: schemaOf(format) }];
  if (format !== undefined && format !== "json")
    problems.push(...schemaProblems(format, "responseFormat", size));

  const isStrict = tools.some((tool) => functionOf(tool)?.strict === true);
  const isMarked = calls !== null && calls.bareOpening === "";
  const areHeld = mustCall || (tools.length > 0 && (json.length > 0 || (isStrict && isMarked)));
  if (!areHeld) return { form: json[0] ?? null, problems };
  if (calls === null) {
    const message = "the model's chat template writes calls in no form that is known here";
    return { form: null, problems: [...problems, { where: "tools", message }] };
  }
  const isHeldToSchema = (strict: unknown): boolean => mustCall || json.length > 0 || strict === true;
  const held = heldTools(tools, toolChoice, isHeldToSchema, size, problems);
  if (held.length === 0) return { form: null, problems };
  const written = callsForm(calls, held, isOne, "");
  if (mustCall) return { form: written, problems };
  if (json.length > 0) return { form: { kind: "choice", parts: [...json, written] }, problems };
  const [trigger] = calls.openings as readonly [string];
  const then = callsForm(calls, held, isOne, trigger);
  return { form: { kind: "free", trigger, then, goesOn: !isOne }, problems };
}

function schemaOf(format: ResponseFormat): JsonSchema {
  return format === "json" ? ANY_OBJECT : format;
}

/** A function as OpenAI describes it; null for a tool that is none. */
function functionOf(tool: unknown): JsonSchema | null {
  const { function: described } = (tool ?? {}) as { readonly function?: unknown };
  const isFunction = typeof described === "object" && described !== null;
  return isFunction && typeof (described as JsonSchema).name === "string" ? (described as JsonSchema) : null;
}

function heldTools(
  tools: readonly unknown[],
  choice: ToolChoice,
  isHeldToSchema: (strict: unknown) => boolean,
  size: SchemaSize,
  problems: Problem[],
): HeldTool[] {
  const named = typeof choice === "string" ? null : choice.name;
  const held = tools.flatMap((tool, i): HeldTool[] => {
    const where = `tools[${i}].function`;
    const { name, parameters, strict } = functionOf(tool) ?? {};
    if (typeof name !== "string") {
      problems.push({ where, message: "expected a function with a name" });
      return [];
    }
    if (named !== null && named !== name) return [];
    if (!isHeldToSchema(strict)) return [{ name, arguments: { kind: "json", schema: ANY_OBJECT } }];
    const wrong = parameterProblems(parameters, `${where}.parameters`, size);
    if (wrong.length > 0 && strict === false)
      return [{ name, arguments: { kind: "json", schema: ANY_OBJECT } }];
    problems.push(...wrong);
    return [{ name, arguments: argumentsForm(parameters) }];
  });
  if (held.length === 0 && problems.length === 0) {
    const message =
      named === null ? "asks for a call, but there are no tools" : `there is no tool "${named.slice(0, 80)}"`;
    problems.push({ where: "toolChoice", message });
  }
  return held;
}

/** A function without parameters takes none, as OpenAI says. */
function argumentsForm(parameters: unknown): AnswerForm {
  if (parameters === undefined || parameters === null) return { kind: "text", text: "{}" };
  return { kind: "json", schema: parameters as JsonSchema };
}

function parameterProblems(parameters: unknown, where: string, size: SchemaSize): Problem[] {
  if (parameters === undefined || parameters === null) return [];
  const problems = schemaProblems(parameters, where, size);
  if ((parameters as JsonSchema).type !== "object")
    problems.push({ where: `${where}.type`, message: 'expected "object": arguments have names' });
  return problems;
}

/** Calls as their form has them, without what they begin with where that is `said` already. */
function callsForm(
  { written }: ToolCallForm,
  tools: readonly HeldTool[],
  isOne: boolean,
  said: string,
): AnswerForm {
  const oneOf = (lead: string, left: string): AnswerForm => {
    const parts = tools.map((tool): AnswerForm => {
      const [before, after] = written.around(tool.name);
      const start: AnswerForm = { kind: "text", text: (lead + before).slice(left.length) };
      return { kind: "sequence", parts: [start, tool.arguments, { kind: "text", text: after }] };
    });
    return { kind: "choice", parts };
  };
  const { opening, between, closing } = written;
  const more: AnswerForm[] = isOne || between === null ? [] : [{ kind: "repeat", part: oneOf(between, "") }];
  return { kind: "sequence", parts: [oneOf(opening, said), ...more, { kind: "text", text: closing }] };
}
