import { LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import type { Figure } from "../experiment.ts";

use([LineChart, ScatterChart, GridComponent, LegendComponent, SVGRenderer]);

/** Stands for the page's own colour of text, whether it is light or dark. */
const TEXT = "#808081";
const LINES = "#80808240";
/** Okabe and Ito's colours, which the colour-blind can tell apart. */
const COLORS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#8c6bb1",
  "#999999",
  "#a6761d",
];
const [WIDTH, HEIGHT] = [720, 400];
/** Names are wider on the page than the drawing counts them. */
const LEGEND_WIDTH = 560;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A figure as an SVG whose text has the colour of the page that it stands in. */
export function drawFigure({ x, y, kind, series }: Figure): string {
  const text = { fontFamily: "system-ui, sans-serif", fontSize: 13, color: TEXT };
  const axis = (one: Figure["x"]) => ({
    type: one.log ? "log" : "value",
    name: one.name,
    nameLocation: "middle",
    scale: true,
    axisLabel: { ...text, formatter: (value: number) => COMPACT.format(value) },
    nameTextStyle: text,
    splitLine: { lineStyle: { color: LINES } },
  });
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({
      animation: false,
      color: COLORS,
      textStyle: text,
      legend: {
        type: "plain",
        bottom: 0,
        width: LEGEND_WIDTH,
        textStyle: text,
        itemWidth: 16,
        itemHeight: 8,
      },
      grid: { left: 70, right: 40, top: 16, bottom: series.length > 4 ? 100 : 76 },
      xAxis: { ...axis(x), nameGap: 28 },
      yAxis: { ...axis(y), nameGap: 48 },
      series: series.map(({ name, points }) => ({
        name,
        type: kind === "line" ? "line" : "scatter",
        symbolSize: kind === "line" ? 7 : 12,
        data: points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b)),
      })),
    });
    return chart.renderToSVGString({ useViewBox: true }).replaceAll(TEXT, "currentColor");
  } finally {
    chart.dispose();
  }
}
