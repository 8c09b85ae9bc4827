import { HeatmapChart } from "echarts/charts";
import { GridComponent, VisualMapComponent } from "echarts/components";
import { type EChartsCoreOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { escapeHtml } from "../train/report/html.ts";
import { digits } from "./numbers.ts";

use([HeatmapChart, GridComponent, VisualMapComponent, SVGRenderer]);

/** Numbers by row and column, to be drawn. */
export interface HeatMap {
  readonly columns: readonly string[];
  readonly rows: readonly string[];
  /** [row][column]; null is left empty. */
  readonly values: readonly (readonly (number | null)[])[];
  /** Ends of the scale; default: 0 and the largest value. */
  readonly range?: readonly [number, number];
  /** How a number reads; default: three digits. */
  readonly show?: (value: number) => string;
  /** Names of the axes. */
  readonly columnName?: string;
  readonly rowName?: string;
}

const CELL_WIDTH = 56;
/** Of more than `FEW` columns, so that a phone shows them readably. */
const NARROW_WIDTH = 34;
const FEW = 6;
/** Of more columns the numbers are left out. */
const NUMBERED = 12;
const CELL_HEIGHT = 22;
/** Stands for the page's own colour of text, whether it is light or dark. */
const TEXT_COLOR = "#808081";
const SCALE = ["#eaf2fb", "#8db4de", "#1f5fa8", "#0b2545"];
/** From here on cells are dark. */
const DARK_SHARE = 0.55;

/** A heat map as an SVG whose text has the colour of the page that it stands in. */
export function drawHeatMap(map: HeatMap): string {
  const left = 24 + 7.5 * Math.max(...map.rows.map((r) => r.length), 1) + (map.rowName ? 20 : 0);
  const width = Math.round(left + cellWidth(map) * Math.max(map.columns.length, 3) + 16);
  const height = Math.round(CELL_HEIGHT * map.rows.length + headHeight(map) + 56);
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption(chartOption(map, left));
    const svg = chart.renderToSVGString({ useViewBox: true }).replaceAll(TEXT_COLOR, "currentColor");
    return withTitles(svg, cellTitles(map));
  } finally {
    chart.dispose();
  }
}

/** What a pointer on each cell is told, in the order of the cells. */
function cellTitles(map: HeatMap): string[] {
  const { rows, columns, values, rowName = "", columnName = "" } = map;
  return values.flatMap((row, y) =>
    row.flatMap((value, x) =>
      value === null
        ? []
        : [`${rowName} ${rows[y]}, ${columnName} ${columns[x]}: ${shown(map, value)}`.trim()],
    ),
  );
}

/** Gives the shapes of data a title each, by their index. Numbers on them are passed through by the pointer. */
function withTitles(svg: string, titles: readonly string[]): string {
  return svg
    .replaceAll("<text ", '<text pointer-events="none" ')
    .replace(
      /(<path[^>]* ecmeta_data_index="(\d+)"[^>]*>)(?=<\/path>)/g,
      (whole, tag: string, index: string) => {
        const title = titles[Number(index)];
        return title === undefined ? whole : `${tag}<title>${escapeHtml(title)}</title>`;
      },
    );
}

function cellWidth({ columns }: HeatMap): number {
  return columns.length > FEW ? NARROW_WIDTH : CELL_WIDTH;
}

/** Names of columns are turned where they are longer than their column. */
function isTurned({ columns }: HeatMap): boolean {
  return columns.some((c) => c.length > FEW);
}

function headHeight(map: HeatMap): number {
  const longest = Math.max(...map.columns.map((c) => c.length), 1);
  return (isTurned(map) ? 12 + 5 * longest : 26) + (map.columnName ? 20 : 0);
}

function chartOption(map: HeatMap, left: number): EChartsCoreOption {
  const text = { fontFamily: "system-ui, sans-serif", fontSize: 12, color: TEXT_COLOR };
  const [least, most] = rangeOf(map);
  const axis = {
    type: "category",
    axisLabel: { ...text, interval: 0 },
    axisTick: { show: false },
    axisLine: { show: false },
    nameTextStyle: text,
    nameLocation: "middle",
  };
  return {
    animation: false,
    textStyle: text,
    grid: { left, right: 16, top: headHeight(map), bottom: 56 },
    xAxis: {
      ...axis,
      position: "top",
      data: [...map.columns],
      axisLabel: { ...axis.axisLabel, rotate: isTurned(map) ? 35 : 0 },
      name: map.columnName ?? "",
      nameGap: 26,
    },
    yAxis: { ...axis, data: [...map.rows], inverse: true, name: map.rowName ?? "", nameGap: left - 18 },
    visualMap: {
      ...{ type: "continuous", min: least, max: most, calculable: false, orient: "horizontal" },
      ...{ left: "center", bottom: 8, itemWidth: 12, itemHeight: 120, textStyle: text },
      text: [shown(map, most), shown(map, least)],
      inRange: { color: SCALE },
    },
    series: [
      { type: "heatmap", data: cellsOf(map), label: { show: map.columns.length <= NUMBERED, fontSize: 11 } },
    ],
  };
}

function rangeOf({ values, range }: HeatMap): readonly [number, number] {
  if (range) return range;
  const all = values.flat().filter((value) => value !== null);
  const most = Math.max(...all, 0);
  return [0, most > 0 ? most : 1];
}

function shown({ show = digits }: HeatMap, value: number): string {
  return show(value);
}

function cellsOf(map: HeatMap): object[] {
  const [least, most] = rangeOf(map);
  return map.values.flatMap((row, y) =>
    row.flatMap((value, x) => {
      if (value === null) return [];
      const isDark = (value - least) / (most - least) > DARK_SHARE;
      const label = { color: isDark ? "#fff" : "#16202c", formatter: shown(map, value) };
      return [{ value: [x, y, value], label }];
    }),
  );
}
