import { expect, it } from "vitest";
import { drawHeatMap } from "../../src/explain/heat-map.ts";

it("each cell says what it is to a pointer, and no number stands in its way", () => {
  const svg = drawHeatMap({
    rows: ["a<b", "c"],
    columns: ["1", "2"],
    values: [
      [0.25, null],
      [0.5, 1],
    ],
    range: [0, 1],
    rowName: "row",
    columnName: "column",
  });
  const titles = Array.from(svg.matchAll(/<title>([^<]*)<\/title>/g), ([, text]) => text);
  expect(titles).toEqual(["row a&#60;b, column 1: 0.250", "row c, column 1: 0.500", "row c, column 2: 1.00"]);
  expect(svg.match(/<text /g)?.length).toBe(svg.match(/<text pointer-events="none" /g)?.length);
});
