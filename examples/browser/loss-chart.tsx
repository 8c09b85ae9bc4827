import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Point } from "./state.ts";

interface Props {
  readonly losses: readonly Point[];
  readonly held: readonly Point[];
  readonly steps: number;
}

const HEIGHT = 220;
/** Distances of ticks: 1, 2, 5, 10, … There is nothing between two steps. */
const WHOLE_STEPS = Array.from({ length: 6 }, (_, k) => [1, 2, 5].map((n) => n * 10 ** k)).flat();

/** Training loss by step as a line, held-out loss as points. */
export function LossChart({ losses, held, steps }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const made = new uPlot(optionsOf(element, steps), [[], [], []], element);
    chart.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [isDark, steps]);
  useEffect(() => chart.current?.setData(dataOf(losses, held)), [losses, held, steps]);
  const last = losses.at(-1);
  return (
    <div
      ref={place}
      class="chart"
      role="img"
      aria-label={last ? `Loss by step; ${last[1].toFixed(3)} at step ${last[0]}` : "Loss by step"}
    />
  );
}

function dataOf(losses: readonly Point[], held: readonly Point[]): uPlot.AlignedData {
  const steps = [...new Set([...losses, ...held].map(([step]) => step))].sort((a, b) => a - b);
  const at = (points: readonly Point[]): (number | null)[] => {
    const byStep = new Map(points);
    return steps.map((step) => byStep.get(step) ?? null);
  };
  return [steps, at(losses), at(held)];
}

function optionsOf(element: HTMLElement, steps: number): uPlot.Options {
  const color = (name: string): string => getComputedStyle(element).getPropertyValue(name).trim();
  const axis = {
    stroke: color("--text-2"),
    grid: { stroke: color("--border"), width: 1 },
    ticks: { stroke: color("--border"), width: 1 },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { live: false },
    cursor: { show: false },
    scales: { x: { time: false, range: [0, Math.max(1, steps)] } },
    axes: [
      { ...axis, incrs: WHOLE_STEPS },
      { ...axis, size: 48 },
    ],
    series: [
      { label: "step" },
      { label: "training loss", stroke: color("--accent"), width: 2, points: { fill: color("--card") } },
      {
        label: "held-out loss",
        stroke: color("--held"),
        width: 0,
        points: { show: true, size: 9, fill: color("--held") },
      },
    ],
  };
}
