import { BarChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { StepProfile } from "../profile/read.ts";

use([BarChart, GridComponent, LegendComponent, SVGRenderer]);

/** A profile and what to call it; the name may be empty where there is only one. */
export interface NamedProfile {
  readonly name: string;
  readonly profile: StepProfile;
}

const WIDTH = 960;
const BAR_HEIGHT = 22;
const COLORS = [
  { forward: "#1f5fa8", backward: "#8db4de" },
  { forward: "#d1652a", backward: "#f0b592" },
];

/** Milliseconds of one forward and backward pass by kind of work, as an SVG: the two directions stacked, profiles side by side
 *  (before and after). */
export function profileChart(profiles: readonly NamedProfile[]): string {
  const kinds = kindsOf(profiles);
  const height = 110 + kinds.length * (14 + BAR_HEIGHT * profiles.length);
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  try {
    chart.setOption(chartOption(profiles, kinds));
    return chart.renderToSVGString({ useViewBox: true });
  } finally {
    chart.dispose();
  }
}

/** Every kind of any profile, the largest first. */
function kindsOf(profiles: readonly NamedProfile[]): string[] {
  const largest = new Map<string, number>();
  for (const { name, forwardMs, backwardMs } of profiles.flatMap((p) => p.profile.byKind))
    largest.set(name, Math.max(largest.get(name) ?? 0, forwardMs + backwardMs));
  return [...largest].sort((a, b) => b[1] - a[1]).map(([name]) => name);
}

function chartOption(profiles: readonly NamedProfile[], kinds: readonly string[]): EChartsCoreOption {
  const text = { fontFamily: "system-ui, sans-serif", fontSize: 13, color: "#333" };
  const series = profiles.flatMap(({ name, profile }, i) =>
    (["forward", "backward"] as const).map((direction) => ({
      type: "bar",
      name: [name, direction].filter((part) => part !== "").join(", "),
      stack: `${i}`,
      barWidth: BAR_HEIGHT - 4,
      itemStyle: { color: (COLORS[i % COLORS.length] as (typeof COLORS)[number])[direction] },
      data: kinds.map((kind) => round(msOf(profile, kind, direction))),
    })),
  );
  return {
    animation: false,
    backgroundColor: "#fff",
    textStyle: text,
    legend: { top: 4, itemWidth: 14, itemHeight: 10, itemGap: 28, textStyle: text },
    grid: { left: 220, right: 40, top: 44, bottom: 52 },
    xAxis: {
      type: "value",
      name: "ms per forward and backward pass",
      nameLocation: "middle",
      nameGap: 32,
      nameTextStyle: text,
      axisLabel: text,
      splitLine: { lineStyle: { color: "#eee" } },
    },
    yAxis: { type: "category", data: kinds, inverse: true, axisLabel: text, axisTick: { show: false } },
    series,
  };
}

function msOf({ byKind }: StepProfile, kind: string, direction: "forward" | "backward"): number {
  return byKind.find(({ name }) => name === kind)?.[`${direction}Ms`] ?? 0;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
