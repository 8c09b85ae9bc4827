import { FormatError } from "../../errors.ts";
import type { Span } from "../added-tokens.ts";
import { createBudget, type Limits } from "./budget.ts";
import { TemplateError } from "./errors.ts";
import { createEvaluation } from "./evaluate.ts";
import { globalFunctions, Refusal } from "./globals.ts";
import { parse } from "./parser.ts";
import type { Body } from "./syntax.ts";
import type { Text } from "./text.ts";
import { dataValue, sizeOf, templateValue, type Value } from "./values.ts";

/** Characters of a rendering that come from the data: [start, end) in UTF-16 units. */
export interface DataSpan {
  readonly start: number;
  readonly end: number;
  /** The item and field that they come from: `messages[2].content`, `tools[0].function`. */
  readonly path: string;
}

/** What a template makes of its variables. */
export interface Rendering {
  readonly text: string;
  /** Ascending and disjoint. What is in none of them is the template's own. */
  readonly data: readonly DataSpan[];
  /** What stands in `{% generation %}` blocks, ascending. */
  readonly generation: readonly Span[];
  /** What the template asked for of the data: `messages[2].tool_calls`, `tools`. */
  readonly read: ReadonlySet<string>;
}

/** Variables of a rendering: those that somebody else wrote, and those that belong to the template (special tokens, flags). */
export interface Variables {
  readonly data: Readonly<Record<string, unknown>>;
  readonly template: Readonly<Record<string, unknown>>;
  /** What `strftime_now` takes for now. */
  readonly now?: Date | undefined;
}

/** A parsed chat template. */
export interface JinjaTemplate {
  /** It has `{% generation %}` blocks. */
  readonly hasGeneration: boolean;
  /** @throws FormatError if the template refuses the variables, fails, or takes more than the limits */
  render(variables: Variables): Rendering;
}

const WHERE = "chat template";

/** Enough for thousands of messages; a loop without end reaches it within seconds. What the data hold comes on top. */
const LIMITS: Limits = { maxSteps: 10_000_000, maxLength: 16 * 2 ** 20 };

/** Parses a template as transformers does: jinja2 with trimmed blocks, loop controls and generation blocks, in its sandbox.
 *  @throws FormatError with the line */
export function parseTemplate(source: string, limits: Limits = LIMITS): JinjaTemplate {
  const body = parsed(source);
  return {
    hasGeneration: holdsGeneration(body),
    render: (variables) => {
      try {
        return rendered(body, variables, limits);
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error;
        const place = error.line === null || error instanceof Refusal ? "" : `line ${error.line}: `;
        throw new FormatError(WHERE, place + error.message, { cause: error });
      }
    },
  };
}

function parsed(source: string): Body {
  try {
    return parse(source);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new FormatError(WHERE, `cannot be parsed: line ${error.line}: ${error.message}`, { cause: error });
  }
}

function holdsGeneration(body: Body): boolean {
  return body.some(
    (node) =>
      node.kind === "generation" ||
      ("body" in node && holdsGeneration(node.body)) ||
      ("otherwise" in node && holdsGeneration(node.otherwise)),
  );
}

function rendered(body: Body, { data, template, now }: Variables, limits: Limits): Rendering {
  const given = Object.entries(data).map(([name, value]): [string, Value] => [name, dataValue(value, name)]);
  const size = given.reduce((n, [, value]) => n + sizeOf(value), 0);
  const budget = createBudget({
    maxSteps: limits.maxSteps + size,
    maxLength: limits.maxLength + 8 * size,
  });
  const read = new Set<string>();
  const own = Object.entries(template).map(([name, value]): [string, Value] => [name, templateValue(value)]);
  const variables = new Map<string, Value>([
    ...globalFunctions(() => now ?? new Date(), budget),
    ...given,
    ...own,
  ]);
  const text = createEvaluation(variables, new Set(given.map(([name]) => name)), read, budget).run(body);
  return { text: text.value, ...spansOf(text), read };
}

function spansOf(text: Text): Pick<Rendering, "data" | "generation"> {
  const data: DataSpan[] = [];
  const generation: [number, number][] = [];
  let start = 0;
  for (const { end, origin, isGenerated } of text.runs) {
    const before = data.at(-1);
    if (origin !== null && before?.end === start && before.path === origin)
      data[data.length - 1] = { ...before, end };
    else if (origin !== null) data.push({ start, end, path: origin });
    const last = generation.at(-1);
    if (isGenerated && last?.[1] === start) last[1] = end;
    else if (isGenerated) generation.push([start, end]);
    start = end;
  }
  return { data, generation };
}
