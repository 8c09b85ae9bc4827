import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { CurvePoint, RunCurve } from "../src/server/dashboard/shapes.ts";
import { loss } from "./text.ts";

const HEIGHT = 280;

/** Distances of ticks: 1, 2, 5, 10, … There is nothing between two steps. */
const WHOLE_STEPS = Array.from({ length: 8 }, (_, k) => [1, 2, 5].map((n) => n * 10 ** k)).flat();

/** Loss over steps: of training as it is and smoothed, of held-out examples as points. */
export function LossChart({ name, curve }: { readonly name: string; readonly curve: RunCurve }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const isDark = useDark();
  const lines = linesOf(curve);
  const shown = lines.map(({ label }) => label).join();
  useEffect(() => {
    const element = place.current;
    if (element === null || shown === "") return;
    const made = new uPlot(optionsOf(lines, element), dataOf(lines), element);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [isDark, shown]);
  // What is pointed at stays as the curve grows.
  useEffect(() => chart.current?.setData(dataOf(lines)), [curve]);
  if (shown === "") return <p class="facts">No losses yet.</p>;
  return (
    <figure>
      <div ref={place} class="chart" role="img" aria-label={`Loss of ${name}. ${summaryOf(curve)}`} />
      <figcaption class="facts">
        Loss ({curve.lossUnit}) by step. {summaryOf(curve)}
      </figcaption>
    </figure>
  );
}

/** What the chart shows, in words. */
function summaryOf({ smoothed, validation, test }: RunCurve): string {
  const change = (what: string, points: readonly CurvePoint[]): string[] => {
    const [first, last] = [points[0], points.at(-1)];
    if (first === undefined || last === undefined) return [];
    return [`${what} ${loss(first[1])} → ${loss(last[1])} (step ${Math.round(last[0])})`];
  };
  const parts = [
    ...change("training", smoothed),
    ...change("validation", validation),
    ...change("test", test),
  ];
  return parts.length === 0 ? "" : `${parts.join("; ")}.`;
}

interface Line {
  readonly label: string;
  readonly points: readonly CurvePoint[];
  /** Custom property of the style sheet. */
  readonly color: string;
  readonly width: number;
  readonly isSparse: boolean;
}

function linesOf({ training, smoothed, validation, test }: RunCurve): Line[] {
  const lines: Line[] = [
    { label: "training", points: training, color: "--line-raw", width: 1, isSparse: false },
    { label: "smoothed", points: smoothed, color: "--line-smooth", width: 2, isSparse: false },
    { label: "validation", points: validation, color: "--line-validation", width: 2, isSparse: true },
    { label: "test", points: test, color: "--line-test", width: 2, isSparse: true },
  ];
  return lines.filter(({ points }) => points.length > 0);
}

/** uPlot wants one list of steps for all lines. */
function dataOf(lines: readonly Line[]): uPlot.AlignedData {
  const tables = lines.map(({ points }) => [points.map(([x]) => x), points.map(([, y]) => y)]);
  if (tables.length === 0) return [[]];
  return tables.length === 1 ? (tables[0] as uPlot.AlignedData) : uPlot.join(tables as uPlot.AlignedData[]);
}

function optionsOf(lines: readonly Line[], element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis = {
    stroke: color("--text-2"),
    grid: { stroke: color("--border"), width: 1 },
    ticks: { stroke: color("--border"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [
      { ...axis, incrs: WHOLE_STEPS },
      { ...axis, size: 48 },
    ],
    series: [
      { label: "step" },
      ...lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: line.width,
        spanGaps: true,
        points: { show: line.isSparse, size: 7, fill: color(line.color) },
        value: (_: uPlot, value: number | null) => (value === null ? "–" : loss(value)),
      })),
    ],
  };
}

const DARK = matchMedia("(prefers-color-scheme: dark)");

function useDark(): boolean {
  const [isDark, setDark] = useState(DARK.matches);
  useEffect(() => {
    const look = (): void => setDark(DARK.matches);
    DARK.addEventListener("change", look);
    return () => DARK.removeEventListener("change", look);
  }, []);
  return isDark;
}
