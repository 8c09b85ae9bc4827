// Draws the rooms of src and who imports whom: docs/rooms.svg, from the imports of the source and the table of layers.
// usage: node scripts/architecture-drawing.mjs [--source FOLDER] [--output FILE]
// It shows no sizes, which change with every commit: only rooms, their layers, and arrows of three weights.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LAYERS } from "./import-rules.mjs";
import { importsBetweenRooms } from "./source-imports.mjs";

const ROOT = new URL("..", import.meta.url);
/** The public surface: it imports from every room, so its arrows say nothing. */
const SURFACE = "index";

const WIDTH = 720;
const MARGIN = 12;
const BOX = { height: 54, maxWidth: 136, gap: 48 };
const ROW_GAP = 92;
const SLAB_GAP = 14;
/** Arrows that pass a row side by side lie this far apart. */
const LANE = 7;
/** Length of an arrow's head. */
const HEAD = 8;
/** Imports from which an arrow is as wide as that, and what the legend says. */
const WEIGHTS = [
  { from: 20, width: 6, opacity: 0.95, text: "20 imports or more" },
  { from: 6, width: 3, opacity: 0.85, text: "6 to 19" },
  { from: 1, width: 1.25, opacity: 0.6, text: "1 to 5" },
];
/** One colour for the arrows of each layer (Okabe and Ito's, which the colour-blind can tell apart). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9"];

const round = (x) => Number(x.toFixed(1));
const weightOf = (count) => WEIGHTS.find(({ from }) => count >= from);

/** Layers from above, without rooms that are not there. A slab is a room alone in its layer with nothing but slabs below: most
 *  rooms import it, so it is a bar that says who does not, without arrows. */
function rowsOf(rooms) {
  const present = LAYERS.map((layer) => layer.filter((room) => rooms.includes(room))).filter(
    (layer) => layer.length > 0,
  );
  const slabs = present.findIndex((layer) => layer.length > 1);
  return present.map((layer, level) => ({ layer, level, isSlab: level < slabs })).reverse();
}

/** Places every room; y grows downwards. */
function placed(rooms) {
  const boxes = new Map();
  const rows = rowsOf(rooms);
  let y = MARGIN + 44;
  for (const [i, { layer, level, isSlab }] of rows.entries()) {
    const most = isSlab ? WIDTH - 2 * MARGIN : BOX.maxWidth;
    const width = Math.min(most, (WIDTH - 2 * MARGIN - BOX.gap * (layer.length - 1)) / layer.length);
    const whole = width * layer.length + BOX.gap * (layer.length - 1);
    for (const [j, room] of layer.entries()) {
      const x = (WIDTH - whole) / 2 + j * (width + BOX.gap);
      boxes.set(room, { room, level, isSlab, x, y, width });
    }
    y += BOX.height + (isSlab || rows[i + 1]?.isSlab ? SLAB_GAP : ROW_GAP);
  }
  return { boxes, bottom: y };
}

/** Where on its box each arrow begins or ends: side by side, in the order of what is at the other end. */
function ports(boxes, arrows, own, other) {
  const at = new Map();
  for (const box of boxes.values()) {
    const here = arrows
      .filter((arrow) => arrow[own] === box.room)
      .sort(
        (a, b) => boxes.get(a[other]).x - boxes.get(b[other]).x || a[other].localeCompare(b[other], "en"),
      );
    for (const [i, arrow] of here.entries()) at.set(arrow, box.x + (box.width * (i + 1)) / (here.length + 1));
  }
  return at;
}

/** Where each arrow crosses the rows between its ends: beside the boxes, as near as can be to its straight line. */
function crossings(boxes, arrows, starts, ends) {
  const at = new Map(arrows.map((arrow) => [arrow, []]));
  for (const y of new Set([...boxes.values()].map((box) => box.y))) {
    const row = [...boxes.values()].filter((box) => box.y === y);
    const edges = row.flatMap((box) => [box.x, box.x + box.width]);
    const bounds = [0, ...edges, WIDTH];
    const lanes = new Map();
    for (const arrow of arrows) {
      const [top, end] = [boxes.get(arrow.from).y, boxes.get(arrow.to).y];
      if (y <= top || y >= end) continue;
      const straight = starts.get(arrow) + ((ends.get(arrow) - starts.get(arrow)) * (y - top)) / (end - top);
      const [gap, x] = nearestGap(bounds, straight);
      lanes.set(gap, [...(lanes.get(gap) ?? []), { arrow, straight, x }]);
    }
    for (const [gap, crossing] of lanes)
      for (const { arrow, x } of spread(crossing, bounds[gap + 1])) at.get(arrow).push({ x, y });
  }
  return at;
}

/** Which two of the bounds, and where between them. */
function nearestGap(bounds, x) {
  const gaps = bounds.flatMap((_, i) => (i % 2 === 0 ? [i] : []));
  const within = gaps.map((i) => [i, Math.min(Math.max(x, bounds[i] + LANE), bounds[i + 1] - LANE)]);
  return within.sort((a, b) => Math.abs(a[1] - x) - Math.abs(b[1] - x))[0];
}

/** Moves what crosses in one gap apart. */
function spread(crossing, right) {
  const sorted = crossing.sort((a, b) => a.straight - b.straight);
  const lane = Math.min(LANE, (right - sorted[0].x) / sorted.length);
  for (let i = 1; i < sorted.length; i++) sorted[i].x = Math.max(sorted[i].x, sorted[i - 1].x + lane);
  for (let i = sorted.length - 1, most = right - lane; i >= 0; i--, most -= lane)
    sorted[i].x = Math.min(sorted[i].x, most);
  return sorted;
}

/** From the lower edge of the importing room, straight through the rows between, to the upper edge of the imported one. */
function downwards(from, to, x1, x2, between) {
  const stops = [...between.map(({ x, y }) => [x, y, y + BOX.height]), [x2, to.y - HEAD]];
  let [x, y] = [x1, from.y + BOX.height];
  let line = `M${round(x)} ${y}`;
  for (const [nextX, nextY, leave] of stops) {
    const bend = (nextY - y) / 2;
    line += `C${round(x)} ${round(y + bend)} ${round(nextX)} ${round(nextY - bend)} ${round(nextX)} ${nextY}`;
    if (leave !== undefined) line += `V${leave}`;
    [x, y] = [nextX, leave];
  }
  return line;
}

/** Between siblings: a bow above their row. */
function sideways(from, to, x1, x2) {
  const y = round(from.y - 22 - Math.abs(x1 - x2) / 14);
  return `M${round(x1)} ${from.y}C${round(x1)} ${y} ${round(x2)} ${y} ${round(x2)} ${to.y - HEAD}`;
}

function arrowsOf(boxes, imports) {
  const arrows = imports.filter(({ from, to }) => from !== SURFACE && !boxes.get(to).isSlab);
  const starts = ports(boxes, arrows, "from", "to");
  const ends = ports(boxes, arrows, "to", "from");
  const between = crossings(boxes, arrows, starts, ends);
  const byWeight = [...arrows].sort((a, b) => weightOf(a.count).width - weightOf(b.count).width);
  return byWeight.map((arrow) => {
    const [from, to] = [boxes.get(arrow.from), boxes.get(arrow.to)];
    const [x1, x2] = [starts.get(arrow), ends.get(arrow)];
    const line =
      from.level === to.level ? sideways(from, to, x1, x2) : downwards(from, to, x1, x2, between.get(arrow));
    return arrowText(arrow, line, COLOURS[from.level % COLOURS.length], [round(x2), to.y]);
  });
}

function arrowText({ from, to, count }, line, colour, [x, y]) {
  const { width, opacity } = weightOf(count);
  const half = round(2.5 + width * 0.75);
  const head = `M${round(x - half)} ${y - HEAD - 1}L${round(x + half)} ${y - HEAD - 1}L${x} ${y}Z`;
  return (
    `<g fill="${colour}" stroke="${colour}" opacity="${opacity}"><title>${from} imports ${to}</title>` +
    `<path d="${line}" fill="none" stroke-width="${width}"/><path d="${head}" stroke="none"/></g>`
  );
}

/** Who imports a slab: every room above it, but some. */
function slabText({ room, level }, boxes, imports) {
  const users = new Set(imports.filter(({ to }) => to === room).map(({ from }) => from));
  const others = [...boxes.values()].filter((box) => box.level > level && !users.has(box.room));
  const names = others.map((box) => box.room).join(", ");
  return others.length === 0 ? "imported by every room above" : `imported by every room above but ${names}`;
}

function boxText(box, boxes, imports) {
  const [x, y] = [round(box.x), box.y];
  const rect = `<rect class="room" x="${x}" y="${y}" width="${round(box.width)}" height="${BOX.height}" rx="8"/>`;
  if (box.isSlab) {
    const text = slabText(box, boxes, imports);
    return `${rect}<text class="name" x="${x + 16}" y="${y + 35}">${box.room}</text><text class="note" x="${x + 120}" y="${y + 34}">${text}</text>`;
  }
  return `${rect}<text class="name" x="${round(box.x + box.width / 2)}" y="${y + 35}" text-anchor="middle">${box.room}</text>`;
}

function legend(y) {
  let x = MARGIN;
  return WEIGHTS.map(({ width, text }) => {
    const item = `<path class="line" d="M${x} ${y - 5}h36" stroke-width="${width}"/><text class="note" x="${x + 44}" y="${y}">${text}</text>`;
    x += 84 + text.length * 8.2;
    return item;
  });
}

const STYLE = `text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1c1e21}
.name{font-size:22px;font-weight:600}.note{font-size:15px}.paper{fill:#fff}.room{fill:#f3f5f8;stroke:#5b6470;stroke-width:1.5}.line{stroke:#5b6470}
@media(prefers-color-scheme:dark){text{fill:#e8eaed}.paper{fill:#14171b}.room{fill:#252a31;stroke:#9aa4b0}.line{stroke:#9aa4b0}}`;

/** The drawing of a source folder, as SVG. It has a background of its own, light or dark as the reader's system is. */
export function drawing(source) {
  const { rooms, imports } = importsBetweenRooms(source);
  const unknown = rooms.filter((room) => room !== SURFACE && !LAYERS.flat().includes(room));
  if (unknown.length > 0) throw new Error(`no layer in scripts/import-rules.mjs: ${unknown.join(", ")}`);
  const { boxes, bottom } = placed(rooms);
  const up = imports.find(({ from, to }) => from !== SURFACE && boxes.get(from).level < boxes.get(to).level);
  if (up !== undefined) throw new Error(`${up.from} imports ${up.to}, which is above it`);
  const height = bottom + 28;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>The rooms of src: an arrow leads from a room to one that it imports</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="12"/>`,
    `<text class="note" x="${MARGIN}" y="${MARGIN + 18}">An arrow leads from a room to one that it imports. All point down.</text>`,
    ...arrowsOf(boxes, imports),
    ...[...boxes.values()].map((box) => boxText(box, boxes, imports)),
    ...legend(bottom + 12),
    "</svg>",
  ];
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      source: { type: "string", default: fileURLToPath(new URL("src", ROOT)) },
      output: { type: "string", default: fileURLToPath(new URL("docs/rooms.svg", ROOT)) },
    },
  });
  writeFileSync(values.output, drawing(values.source));
}
