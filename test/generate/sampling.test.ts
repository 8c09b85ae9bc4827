import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { InputError, RuntimeError } from "../../src/errors.ts";
import { candidates, createSampler, type SamplingOptions } from "../../src/generate/sampling.ts";
import { random } from "../../src/tensor/random.ts";

interface Fixture {
  readonly history: readonly number[];
  readonly logits: Readonly<Record<string, readonly number[]>>;
  readonly cases: readonly {
    readonly logits: string;
    readonly options: SamplingOptions;
    readonly kept: readonly number[];
    readonly probabilities: readonly number[];
  }[];
}

const path = new URL("../fixtures/generate/sampling.json", import.meta.url);
const fixture = JSON.parse(readFileSync(path, "utf8")) as Fixture;

describe("candidates against transformers' logits processors", () => {
  it.each(fixture.cases)("$logits logits, $options", ({ logits, options, kept, probabilities }) => {
    const scores = Float32Array.from(fixture.logits[logits] as number[]);
    const got = candidates(scores, fixture.history, options);
    expect(Array.from(got.ids).sort((a, b) => a - b)).toEqual(kept);
    const byId = new Map(Array.from(got.ids, (id, i) => [id, got.probabilities[i] as number]));
    // transformers computes in float32, here in float64: 1e-6 is some ten roundings of a probability near 1.
    kept.forEach((id, i) => {
      expect(Math.abs((byId.get(id) as number) - (probabilities[i] as number))).toBeLessThan(1e-6);
    });
  });
});

describe("the nucleus", () => {
  it("found among the likely tokens is the one found by sorting them all", () => {
    const generator = random(3);
    for (let round = 0; round < 200; round++) {
      const spread = generator.uniform() * 6;
      const logits = Float32Array.from({ length: 500 }, () => generator.normal() * spread);
      const topP = generator.uniform() * 0.99 + 0.01;
      if (round % 2 === 0) for (let i = 0; i < 500; i++) logits[i] = Math.round(logits[i] as number); // ties
      const { probabilities } = candidates(logits, []);
      const order = Array.from(probabilities.keys()).sort(
        (a, b) => (probabilities[b] as number) - (probabilities[a] as number) || a - b,
      );
      let before = 0;
      const expected = order.filter((id, i) => {
        const isIn = i === 0 || before < topP;
        before += probabilities[id] as number;
        return isIn;
      });
      const { ids } = candidates(logits, [], { topP });
      expect(Array.from(ids)).toEqual(expected.sort((a, b) => a - b));
    }
  });
});

describe("a sampler", () => {
  const logits = Float32Array.from([1, 3, 3, -1, 0]);

  it("at temperature 0 takes the most likely token, the lowest id on ties, after the penalty", () => {
    expect(createSampler({ temperature: 0 }).next(logits, [])).toBe(1);
    expect(createSampler({ temperature: 0, repetitionPenalty: 2 }).next(logits, [1])).toBe(2);
    expect(createSampler({ temperature: 0, repetitionPenalty: 4 }).next(logits, [1, 2, 99])).toBe(0);
  });

  it("leaves the logits as they are", () => {
    const before = logits.slice();
    createSampler({ repetitionPenalty: 2, topK: 2, topP: 0.5 }).next(logits, [1, 2]);
    expect(logits).toEqual(before);
  });

  it("repeats itself for a seed, and not for another", () => {
    const sequence = (seed: number): number[] => {
      const sampler = createSampler({ seed });
      return Array.from({ length: 50 }, () => sampler.next(logits, []));
    };
    expect(sequence(1)).toEqual(sequence(1));
    expect(sequence(1)).not.toEqual(sequence(2));
  });

  it("draws every candidate as often as its probability says", () => {
    const sampler = createSampler({ seed: 5 });
    const { ids, probabilities } = candidates(logits, []);
    const rounds = 20000;
    const counts = new Map<number, number>();
    for (let i = 0; i < rounds; i++) {
      const id = sampler.next(logits, []);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    ids.forEach((id, i) => {
      // Standard deviation of a share is below sqrt(0.25/20000) = 0.0036; five of them.
      expect(Math.abs((counts.get(id) ?? 0) / rounds - (probabilities[i] as number))).toBeLessThan(0.018);
    });
  });

  it("never draws a token whose logit is -Infinity", () => {
    const masked = Float32Array.from([-Infinity, 0, -Infinity, 0]);
    expect(Array.from(candidates(masked, []).ids)).toEqual([1, 3]);
    expect(Array.from(candidates(masked, [], { topK: 3, topP: 0.99 }).ids)).toEqual([1, 3]);
  });

  it("is stopped by broken logits, with the token", () => {
    for (const temperature of [0, 1]) {
      const sampler = createSampler({ temperature });
      expect(() => sampler.next(Float32Array.from([0, Number.NaN]), [])).toThrow(
        new RuntimeError("logit of token 1 is NaN: the model's output is broken"),
      );
      expect(() => sampler.next(Float32Array.from([Infinity, 0]), [])).toThrow(
        "logit of token 0 is Infinity",
      );
      expect(() => sampler.next(Float32Array.from([-Infinity]), [])).toThrow("no token has a finite logit");
    }
  });

  it("names every option out of range at once", () => {
    const options = {
      temperature: -1,
      topK: 1.5,
      topP: 0,
      minP: Number.NaN,
      repetitionPenalty: 0,
      seed: -3,
    };
    expect(() => createSampler(options)).toThrow(
      new InputError("Sampling options are out of range:", [
        { where: "temperature", message: "expected a number, 0 or more, got -1" },
        { where: "topK", message: "expected a whole number, 0 (all tokens) or more, got 1.5" },
        { where: "topP", message: "expected a number above 0, up to 1, got 0" },
        { where: "minP", message: "expected a number from 0 to 1, got NaN" },
        { where: "repetitionPenalty", message: "expected a number above 0 (1: no penalty), got 0" },
        { where: "seed", message: "expected a whole number, 0 or more, got -3" },
      ]),
    );
  });
});
