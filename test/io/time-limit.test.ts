import { describe, expect, test } from "vitest";
import { withinMs } from "../../src/io/time-limit.ts";

const HOSTILE = /^((a+)+)+$/;
const text = `${"a".repeat(40)}b`;

describe("withinMs", () => {
  test("gives what the work gives, and throws what it throws", () => {
    expect(withinMs(1000, () => 7)).toEqual({ value: 7 });
    expect(withinMs(1000, () => null)).toEqual({ value: null });
    expect(() =>
      withinMs(1000, () => {
        throw new RangeError("own");
      }),
    ).toThrow(new RangeError("own"));
  });

  test("stops a regular expression that backtracks without end", () => {
    expect(withinMs(50, () => HOSTILE.test(text))).toBeNull();
    expect(withinMs(1000, () => HOSTILE.test("aaa"))).toEqual({ value: true });
  });

  test("limits inside of limits: the inner one ends, the outer goes on", () => {
    const outer = withinMs(5000, () => [withinMs(50, () => HOSTILE.test(text)), "after"]);
    expect(outer).toEqual({ value: [null, "after"] });
  });
});
