import { describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.ts";
import { createStopWatch } from "../../src/generate/stops.ts";
import { random } from "../../src/tensor/random.ts";

/** Everything that comes out when the pieces go in, and the stop string found. */
function run(strings: string[], pieces: string[]): { text: string; stopped: string | null } {
  const watch = createStopWatch({ strings });
  const text = pieces.map(watch.push).join("") + watch.flush();
  return { text, stopped: watch.stopped };
}

describe("stop strings", () => {
  it("end the text before themselves, also across pieces", () => {
    expect(run(["\nUser:"], ["Hello", "\nUs", "er", ": no"])).toEqual({ text: "Hello", stopped: "\nUser:" });
  });

  it("hold back only what may be their start", () => {
    const watch = createStopWatch({ strings: ["END", "\n\n"] });
    expect(watch.push("text E")).toBe("text ");
    expect(watch.push("N")).toBe("");
    expect(watch.push("T\n")).toBe("ENT");
    expect(watch.push("x")).toBe("\nx");
    expect(watch.stopped).toBeNull();
    expect(watch.push("EN")).toBe("");
    expect(watch.flush()).toBe("EN");
  });

  it("are found after a false start that overlaps", () => {
    expect(run(["aab"], ["a", "a", "a", "b", "c"])).toEqual({ text: "a", stopped: "aab" });
  });

  it("win by being complete first, then by being longer", () => {
    expect(run(["abcd", "bc"], ["abcd"])).toEqual({ text: "a", stopped: "bc" });
    expect(run(["bc", "abc"], ["xabc"])).toEqual({ text: "x", stopped: "abc" });
    expect(run(["abc", "bc"], ["xabc"])).toEqual({ text: "x", stopped: "abc" });
  });

  it("let nothing out after the stop", () => {
    const watch = createStopWatch({ strings: ["x"] });
    expect(watch.push("axb")).toBe("a");
    expect(watch.push("c")).toBe("");
    expect(watch.flush()).toBe("");
  });

  it("do not depend on how the text is cut", () => {
    const generator = random(11);
    const letters = (n: number): string => Array.from({ length: n }, () => "ab"[generator.below(2)]).join("");
    for (let round = 0; round < 300; round++) {
      const strings = [letters(1 + generator.below(5)), letters(2 + generator.below(4))];
      const text = letters(generator.below(12));
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const size = 1 + generator.below(4);
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      expect([strings, run(strings, pieces)]).toEqual([strings, run(strings, [...text])]);
      const { text: out, stopped } = run(strings, [text]);
      expect([strings, out, stopped]).toEqual([strings, ...Object.values(run(strings, [...text]))]);
      if (stopped === null) expect(out).toBe(text);
      else expect(text.startsWith(out + stopped)).toBe(true);
    }
  });

  it("may not be empty", () => {
    expect(() => createStopWatch({ strings: ["a", "", ""] })).toThrow(
      new InputError("Stop strings are wrong:", [
        { where: "stop string 2", message: "is empty: it would end every text at once" },
        { where: "stop string 3", message: "is empty: it would end every text at once" },
      ]),
    );
  });
});

describe("stop ids", () => {
  it("are told apart, and text flows freely without stop strings", () => {
    const watch = createStopWatch({ ids: [2, 7] });
    expect([1, 2, 7].map(watch.isStopId)).toEqual([false, true, true]);
    expect(watch.push("anything")).toBe("anything");
  });
});
