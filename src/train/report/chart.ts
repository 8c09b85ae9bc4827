import { LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { EvaluationEvent, StepEvent } from "../events.ts";
import type { MetricsEvent } from "../metrics-log.ts";
import { smooth, thin } from "./curve.ts";

use([LineChart, ScatterChart, GridComponent, LegendComponent, SVGRenderer]);

const WIDTH = 960;
const HEIGHT = 440;
const COLORS = { raw: "#c3d3e8", smooth: "#1f5fa8", validation: "#d1652a", test: "#2f8f5b", rate: "#9a9a9a" };

/** The loss curve as an SVG: training loss as it is and smoothed, held-out losses as points, the learning rate on the
 *  second axis. */
export function lossChart(metrics: readonly MetricsEvent[], lossUnit = "nats per token"): string {
  const steps = metrics.filter((event) => event.type === "step");
  const evaluations = metrics.filter((event) => event.type === "evaluation");
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption(chartOption(steps, evaluations, lossUnit));
    return chart.renderToSVGString({ useViewBox: true });
  } finally {
    chart.dispose();
  }
}

function chartOption(
  steps: readonly StepEvent[],
  evaluations: readonly EvaluationEvent[],
  lossUnit: string,
): EChartsCoreOption {
  const losses = smooth(steps.map((step) => step.loss));
  const smoothed = thin(steps.map((step, i) => [step.step, losses[i] as number]));
  const series = [
    line("training loss", thin(steps.map((s) => [s.step, s.loss])), COLORS.raw, 1),
    line("smoothed", smoothed, COLORS.smooth, 2.5),
    points("validation loss", evaluationPoints(evaluations, "validation"), COLORS.validation),
    points("test loss", evaluationPoints(evaluations, "test"), COLORS.test),
    {
      ...line("learning rate", thin(steps.map((s) => [s.step, s.learningRate])), COLORS.rate, 1),
      yAxisIndex: 1,
    },
  ].filter((one) => one.data.length > 0);
  const text = { fontFamily: "system-ui, sans-serif", fontSize: 13, color: "#333" };
  const axis = { nameTextStyle: text, axisLabel: text, splitLine: { lineStyle: { color: "#eee" } } };
  return {
    animation: false,
    backgroundColor: "#fff",
    textStyle: text,
    legend: { top: 4, icon: "roundRect", itemWidth: 14, itemHeight: 6, itemGap: 28, textStyle: text },
    grid: { left: 64, right: 84, top: 64, bottom: 52 },
    xAxis: {
      ...axis,
      type: "value",
      name: "step",
      nameLocation: "middle",
      nameGap: 32,
      min: 0,
      max: lastStep(steps),
    },
    yAxis: [
      { ...axis, type: "value", name: lossUnit, scale: true },
      {
        ...axis,
        type: "value",
        name: "learning rate",
        splitLine: { show: false },
        axisLabel: { ...text, formatter: rate },
      },
    ],
    series,
  };
}

interface Series {
  readonly data: readonly (readonly [number, number])[];
}

function line(name: string, data: Series["data"], color: string, width: number): Series {
  const style = {
    type: "line",
    showSymbol: data.length === 1,
    lineStyle: { color, width },
    itemStyle: { color },
  };
  return { ...style, name, data } as Series;
}

function points(name: string, data: Series["data"], color: string): Series {
  const style = {
    type: "line",
    symbol: "circle",
    symbolSize: 9,
    lineStyle: { color, width: 1, type: "dashed" },
  };
  return { ...style, name, data, itemStyle: { color } } as Series;
}

function evaluationPoints(evaluations: readonly EvaluationEvent[], split: string): [number, number][] {
  return evaluations.filter((e) => e.split === split && Number.isFinite(e.loss)).map((e) => [e.step, e.loss]);
}

function lastStep(steps: readonly StepEvent[]): number {
  return Math.max(1, steps.at(-1)?.step ?? 1);
}

function rate(value: number): string {
  return value === 0 ? "0" : value.toExponential(1);
}
