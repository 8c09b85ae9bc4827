import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FormatError } from "../../../src/errors.ts";
import { parseTemplate, type Rendering } from "../../../src/text/jinja/template.ts";

interface Fixture {
  readonly data: Readonly<Record<string, unknown>>;
  readonly cases: readonly {
    readonly template: string;
    /** null: Python raises. */
    readonly text: string | null;
    /** In characters. */
    readonly generation?: readonly (readonly [number, number])[];
  }[];
}

const FIXTURE: Fixture = JSON.parse(
  readFileSync(new URL("../../fixtures/text/jinja/cases.json", import.meta.url), "utf8"),
);
const { bos_token, eos_token, add_generation_prompt, ...data } = FIXTURE.data;

function render(template: string): Rendering {
  return parseTemplate(template).render({ data, template: { bos_token, eos_token, add_generation_prompt } });
}

const characters = (text: string, at: number): number => Array.from(text.slice(0, at)).length;

describe("templates give what transformers gives", () => {
  it.each(FIXTURE.cases)("$template", ({ template, text, generation = [] }) => {
    if (text === null) {
      expect(() => render(template)).toThrow(FormatError);
      return;
    }
    const result = render(template);
    expect(result.text).toBe(text);
    expect(result.generation.map(([start, end]) => [characters(text, start), characters(text, end)])).toEqual(
      generation,
    );
  });
});
