import { FormatError } from "../../errors.ts";
import type { Span } from "../added-tokens.ts";
import { render } from "./execute.ts";
import { runFilter } from "./filters.ts";
import { globalsOf, Refusal } from "./globals.ts";
import { fromData, fromTemplate, type Size } from "./input.ts";
import { TemplateFault } from "./limits.ts";
import { innerScope, type Scope } from "./scope.ts";
import type { Runtime } from "./state.ts";
import { type Parsed, parse } from "./statements.ts";
import { FILTER_NAMES, TESTS } from "./tests.ts";
import { type Run, runsOf, type Text } from "./text.ts";
import type { Value } from "./values.ts";

/** Characters of a rendering that came from data. */
export interface DataSpan {
  /** [start, end) in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  /** Variable they came from; of `messages` the item and its field: `tools`, `messages[2].content`. */
  readonly path: string;
}

/** A rendered template. */
export interface Rendering {
  readonly text: string;
  /** Characters that came from data, ascending, disjoint. All others were written by the template. */
  readonly data: readonly DataSpan[];
  /** What `{% generation %}` blocks wrote, one span per block and stretch, ascending. */
  readonly generation: readonly Span[];
  /** Paths of data that the template read: looked up, iterated into, or wrote out whole. */
  readonly read: ReadonlySet<string>;
}

/** A parsed chat template. */
export interface JinjaTemplate {
  /** Whether it has a `{% generation %}` block. */
  readonly hasGeneration: boolean;
  /** @throws FormatError if the template fails or refuses the data. */
  render(variables: Variables): Rendering;
}

export interface Variables {
  /** The caller's: every character of them is marked as data in the rendering. JSON values and bigints. */
  readonly data: Readonly<Record<string, unknown>>;
  /** The template's own, e.g. `bos_token`. */
  readonly template: Readonly<Record<string, unknown>>;
  /** What `strftime_now` takes for now. Default: the clock. */
  readonly now?: Date | undefined;
}

export interface TemplateOptions {
  /** Most nodes, passes of loops, items, and 64ths of characters read. Default: 20 million, and more with the data. */
  readonly maxSteps?: number;
  /** Most characters made, and in the output. Default: 32 million, and more with the data. */
  readonly maxLength?: number;
}

const WHERE = "chat template";
const STEPS = 20_000_000;
const STEPS_PER_CHARACTER = 1;
const STEPS_PER_VALUE = 1000;
const LENGTH = 2 ** 25;
const LENGTH_PER_CHARACTER = 10;

/** Parses a Jinja template, to be rendered as transformers renders chat templates.
 *  @throws FormatError with the line if it cannot be parsed. */
export function parseTemplate(source: string, options: TemplateOptions = {}): JinjaTemplate {
  const parsed = guarded(
    () => parse(source, FILTER_NAMES, new Set(Object.keys(TESTS))),
    "cannot be parsed: ",
  );
  return {
    hasGeneration: parsed.hasGeneration,
    render: (variables) => {
      const place: Place = { line: null };
      return guarded(() => renderParsed(parsed, variables, options, place), "", place);
    },
  };
}

interface Place {
  line: (() => number) | null;
}

/** Runs `work`; what goes wrong in it becomes a FormatError. */
function guarded<T>(work: () => T, prefix: string, place: Place = { line: null }): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) throw new FormatError(WHERE, error.message, { cause: error });
    const isOverflow = error instanceof RangeError && /call stack/i.test(error.message);
    if (!(error instanceof TemplateFault) && !isOverflow) throw error;
    const line = error instanceof TemplateFault ? (error.line ?? place.line?.() ?? null) : null;
    const message = isOverflow ? "nested too deeply" : error.message;
    throw new FormatError(WHERE, `${prefix}${line === null ? "" : `line ${line}: `}${message}`, {
      cause: error,
    });
  }
}

function renderParsed(
  parsed: Parsed,
  variables: Variables,
  options: TemplateOptions,
  place: Place,
): Rendering {
  const read = new Set<string>();
  const size: Size = { characters: 0, values: 0 };
  const data = fromData(variables.data, read, size);
  const own = fromTemplate(variables.template, size);
  const rt = runtimeFor(size, options, variables.now);
  place.line = () => rt.line;
  const given: Scope = {
    variables: noting(
      new Map([...globalsOf(rt), ...own, ...data.map((d) => [d.name, d.value] as const)]),
      data,
      read,
    ),
    parent: null,
  };
  const text = render(rt, parsed.body, innerScope(given));
  return { text: text.text, data: dataSpans(text), generation: generationSpans(text), read };
}

function runtimeFor(size: Size, { maxSteps, maxLength }: TemplateOptions, now: Date | undefined): Runtime {
  const limits = {
    maxSteps: maxSteps ?? STEPS + STEPS_PER_CHARACTER * size.characters + STEPS_PER_VALUE * size.values,
    maxLength: maxLength ?? LENGTH + LENGTH_PER_CHARACTER * size.characters,
    steps: 0,
    length: 0,
  };
  const rt: Runtime = {
    limits,
    now: () => now ?? new Date(),
    line: 1,
    depth: 0,
    generations: 0,
    filter: (name, value, args) => runFilter(rt, name, value, args),
  };
  return rt;
}

/** The variables, noting the paths of those that are looked up. */
function noting(
  variables: Map<string, Value>,
  data: readonly { readonly name: string; readonly path: string | null }[],
  read: Set<string>,
): Map<string, Value> {
  const paths = new Map(data.map((d) => [d.name, d.path]));
  const get = variables.get.bind(variables);
  variables.get = (name) => {
    const path = paths.get(name);
    if (path) read.add(path);
    return get(name);
  };
  return variables;
}

/** Stretches of a text whose runs have one key, the key with each; null: left out. */
function stretches<K>(text: Text, keyOf: (run: Run) => K | null): { start: number; end: number; key: K }[] {
  const found: { start: number; end: number; key: K }[] = [];
  let start = 0;
  for (const run of runsOf(text)) {
    const key = keyOf(run);
    const last = found.at(-1);
    if (last !== undefined && last.key === key && last.end === start) last.end = run.end;
    else if (key !== null) found.push({ start, end: run.end, key });
    start = run.end;
  }
  return found;
}

const dataSpans = (text: Text): DataSpan[] =>
  stretches(text, (run) => run.origin.path).map(({ start, end, key }) => ({ start, end, path: key }));

const generationSpans = (text: Text): Span[] =>
  stretches(text, (run) => run.origin.generation || null).map(({ start, end }) => [start, end]);
