import { z } from "zod";
import type { EngineRequest } from "../../generate/engine/engine.ts";
import type { FieldsOf, Optional } from "../fields.ts";

/** A tool that a model may call. */
export interface Tool {
  readonly type: "function";
  readonly function: FunctionTool;
}

/** A function that a model may call, its parameters as a JSON schema. */
export interface FunctionTool {
  readonly name: string;
  readonly description?: Optional<string>;
  readonly parameters?: Optional<Record<string, unknown>>;
  readonly strict?: Optional<boolean>;
}

const functionName = z.string().regex(/^[\w-]{1,64}$/, "expected letters, digits, _ and - (64 at most)");

export const functionFields: FieldsOf<FunctionTool> = {
  name: functionName,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish().describe("default: there are none"),
  strict: z
    .boolean()
    .nullish()
    .describe(
      "true: calls always fit the parameters, also where none is required (without effect there for models of Llama's form); " +
        "false: where a call is required and its parameters cannot be held to, arguments are any object instead of an error",
    ),
};

export const tool: z.ZodType<Tool> = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject(functionFields),
});

/** Whether tools are called, or which one is. */
export type ToolChoiceBody = "none" | "auto" | "required" | { readonly name: string };

const modes = z.enum(["none", "auto", "required"]);

/** As chat completions have it. */
export const chatToolChoice: z.ZodType<Optional<ToolChoiceBody>> = z
  .union([
    modes,
    z
      .strictObject({ type: z.literal("function"), function: z.strictObject({ name: functionName }) })
      .transform(({ function: { name } }) => ({ name })),
  ])
  .nullish()
  .describe(
    "default auto; required, or one function: the answer is nothing but calls, which fit their parameters",
  );

/** As responses have it. */
export const responsesToolChoice: z.ZodType<Optional<ToolChoiceBody>> = z
  .union([
    modes,
    z.strictObject({ type: z.literal("function"), name: functionName }).transform(({ name }) => ({ name })),
  ])
  .nullish()
  .describe(
    "default auto; required, or one function: the answer is nothing but calls, which fit their parameters",
  );

export const parallelToolCalls: z.ZodType<Optional<boolean>> = z
  .boolean()
  .nullish()
  .describe("default true; false: an answer ends with its first call");

/** What a body says of tools, which stand in it as chat completions have them. */
export interface ToolBody {
  readonly tool_choice?: Optional<ToolChoiceBody>;
  readonly parallel_tool_calls?: Optional<boolean>;
}

/** Says where a choice of tools is wrong beside them. */
export function checkToolChoice(
  { tool_choice }: ToolBody,
  names: readonly string[],
  context: z.RefinementCtx,
): void {
  const say = (message: string): void => context.addIssue({ code: "custom", path: ["tool_choice"], message });
  if (!tool_choice || tool_choice === "none" || tool_choice === "auto") return;
  if (names.length === 0) say("asks for a call, but there are no tools");
  else if (tool_choice !== "required" && !names.includes(tool_choice.name))
    say(`there is no tool "${tool_choice.name}"`);
}

/** Tools, and what is wished of their calls, as the engine takes them; without any where none may be called. */
export function toolWishes(
  { tool_choice, parallel_tool_calls }: ToolBody,
  tools: readonly Tool[],
): Pick<EngineRequest, "toolChoice" | "parallelToolCalls"> & { readonly tools?: readonly Tool[] } {
  if (tools.length === 0 || tool_choice === "none") return {};
  return {
    tools,
    ...(tool_choice ? { toolChoice: tool_choice } : {}),
    ...(parallel_tool_calls === false ? { parallelToolCalls: false } : {}),
  };
}
