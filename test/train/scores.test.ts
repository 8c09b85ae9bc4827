import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { labelIndex, numberOf, targetOf } from "../../src/data/labels.ts";
import { MEASURES, measureTexts } from "../../src/objectives/measures.ts";
import { classMeasures, valueMeasures } from "../../src/objectives/scores.ts";

interface Fixture {
  readonly classes: readonly {
    labels: number[];
    predictions: number[];
    count: number;
    expected: Record<string, number>;
  }[];
  readonly values: readonly {
    targets: number[];
    predictions: number[];
    expected: Record<string, number>;
  }[];
}

const path = new URL("../fixtures/encoders/measures.json", import.meta.url);
const fixture = JSON.parse(await readFile(path, "utf8")) as Fixture;

function expectClose(got: object, want: Record<string, number>): void {
  expect(Object.keys(got).sort()).toEqual(Object.keys(want).sort());
  for (const [key, value] of Object.entries(got)) expect(value, key).toBeCloseTo(want[key] as number, 12);
}

describe("measures are those of their definitions", () => {
  test("of classes", () => {
    for (const { labels, predictions, count, expected } of fixture.classes)
      expectClose(classMeasures(labels, predictions, count), expected);
  });

  test("of values", () => {
    for (const { targets, predictions, expected } of fixture.values)
      expectClose(valueMeasures(targets, predictions), expected);
    expect(valueMeasures([1, 2, 3], [5, 5, 5]), "nothing correlates with what is all the same").toEqual({});
  });

  test("are shown in their order", () => {
    const measures = { matthews: 0.5, accuracy: 0.9125, pearson: -0.25 };
    expect(measureTexts(measures)).toEqual([
      ["Accuracy", "91.3%"],
      ["Matthews correlation", "0.5000"],
      ["Pearson correlation", "-0.2500"],
    ]);
    expect(new Set(MEASURES.map(({ key }) => key)).size).toBe(MEASURES.length);
  });
});

test("labels are names, numbers or texts of numbers", () => {
  expect(["3", " -0.5 ", "1e2", 2, "x", "", "1 2", Number.NaN].map(numberOf)).toEqual([
    3,
    -0.5,
    100,
    2,
    ...Array(4).fill(null),
  ]);
  expect(["no", "1", 1, "2", -1, 0.5].map((label) => labelIndex(label, ["no", "yes"]))).toEqual([
    0,
    1,
    1,
    null,
    null,
    null,
  ]);
  expect(labelIndex("0", ["1", "0"]), "a name before a number").toBe(1);
  expect(targetOf("4.5", ["LABEL_0"], "value")).toBe(4.5);
  expect(targetOf("much", ["LABEL_0"], "value")).toBe('label "much": expected a number');
  expect(targetOf(7, ["no", "yes"], "classes")).toBe("unknown label 7; known: no (0), yes (1)");
});
