// Runs a command in a terminal of 80 columns and draws what it shows as an SVG that plays once and then stands: nothing in it is from
// elsewhere, and without animation it is the last screen. Needs `script` of util-linux.
// usage: node scripts/terminal-recording.mjs docs/terminal.svg npm start
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

const COLUMNS = 80;
/** Rows that are seen at once; the others have scrolled away. */
const ROWS = 34;
/** Pixels. */
const CELL = { width: 7.8, height: 17, font: 13 };
const MARGIN = { x: 16, top: 40, bottom: 16 };
/** A pause of the recording is at most so long in the drawing. */
const MAX_PAUSE_MS = 300;
/** States of one line, such as a bar's, that are drawn. */
const MAX_STATES = 20;
const COLOURS = { 31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 36: "#79c0ff" };

/** Output as `script` logs it: what was written when, in milliseconds from the start. */
export async function record(command) {
  const folder = await mkdtemp(join(tmpdir(), "lowrank-recording-"));
  const [out, timing] = [join(folder, "out"), join(folder, "timing")];
  try {
    const inside = `stty cols ${COLUMNS} rows 50; ${command}`;
    await promisify(execFile)("script", ["-q", "-E", "never", "-e", "-O", out, "-T", timing, "-c", inside], {
      maxBuffer: 2 ** 30,
    });
    return pieces(await readFile(out), await readFile(timing, "utf8"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The log begins with a line of `script`'s own. A line of the timing file: seconds since the one before, bytes. */
function pieces(log, timing) {
  let offset = log.indexOf("\n") + 1;
  let atMs = 0;
  return timing
    .trim()
    .split("\n")
    .map((line) => {
      const [seconds, bytes] = line.split(" ").map(Number);
      atMs += seconds * 1000;
      offset += bytes;
      return { atMs, bytes: log.subarray(offset - bytes, offset) };
    });
}

const ESCAPE = "\u001b";
const TOKEN = new RegExp(`${ESCAPE}\\[[\\d;?]*[A-Za-z]|\\r|\\n|[^${ESCAPE}\\r\\n]`, "gu");

/** Every line with its states over time: [{ states: [{ atMs, cells: [{ ch, style }] }] }]. Knows the sequences that the command line
 *  uses: colours, cursor to a column, clear to the end of the line, clear the line. @throws for others */
export function linesOf(recording) {
  const decoder = new TextDecoder();
  const lines = [{ cells: [], states: [] }];
  let column = 0;
  let style = { colour: null, isDim: false, isBold: false };
  const newLine = () => {
    lines.push({ cells: [], states: [] });
    column = 0;
  };
  for (const { atMs, bytes } of recording) {
    const touched = new Set();
    for (const [token] of decoder.decode(bytes, { stream: true }).matchAll(TOKEN)) {
      if (column === COLUMNS && !"\r\n".includes(token) && !token.startsWith(ESCAPE)) newLine();
      const line = lines.at(-1);
      touched.add(line);
      if (token === "\n") newLine();
      else if (token === "\r") column = 0;
      else if (!token.startsWith(ESCAPE)) line.cells[column++] = { ch: token, style };
      else if (token.endsWith("G")) column = Number(token.slice(2, -1) || 1) - 1;
      else if (/\[0?[KJ]$/.test(token)) line.cells.length = Math.min(line.cells.length, column);
      else if (token.endsWith("[2K")) line.cells.length = 0;
      else if (token.endsWith("m"))
        for (const code of token.slice(2, -1).split(";")) style = styled(style, Number(code));
      else if (!/\[\?\d+[hl]$/.test(token)) throw new Error(`unknown sequence ${JSON.stringify(token)}`);
    }
    for (const { cells, states } of touched)
      states.push({ atMs, cells: Array.from(cells, (cell) => cell ?? { ch: " ", style }) });
  }
  return lines.map(({ states }) => ({ states: few(changes(states)) }));
}

/** A style after one of the codes of colours and weights. */
function styled(style, code) {
  if (code === 0) return { colour: null, isDim: false, isBold: false };
  if (code === 1) return { ...style, isBold: true };
  if (code === 2) return { ...style, isDim: true };
  if (code === 22) return { ...style, isBold: false, isDim: false };
  return { ...style, colour: code === 39 ? null : (COLOURS[code] ?? style.colour) };
}

const textOf = (cells) => cells.map(({ ch }) => ch).join("");

function changes(states) {
  return states.filter((state, i) => i === 0 || textOf(state.cells) !== textOf(states[i - 1].cells));
}

/** At most `MAX_STATES`, evenly spaced, the first and the last among them. */
function few(states) {
  if (states.length <= MAX_STATES) return states;
  const at = (i) => states[Math.round((i * (states.length - 1)) / (MAX_STATES - 1))];
  return Array.from({ length: MAX_STATES }, (_, i) => at(i));
}

/** When a state is drawn, in seconds: long pauses are cut. */
function clock(lines) {
  const times = [...new Set(lines.flatMap(({ states }) => states.map(({ atMs }) => atMs)))].sort(
    (a, b) => a - b,
  );
  const drawn = new Map();
  let atMs = 0;
  times.forEach((time, i) => {
    atMs += i === 0 ? MAX_PAUSE_MS : Math.min(MAX_PAUSE_MS, time - times[i - 1]);
    drawn.set(time, atMs / 1000);
  });
  return { at: (time) => drawn.get(time), endSeconds: atMs / 1000 };
}

const escaped = (text) => text.replace(/[&<>]/g, (ch) => `&#${ch.charCodeAt(0)};`);

/** Cells as runs of one style. */
function runs(cells) {
  const spans = [];
  for (const { ch, style } of cells) {
    const last = spans.at(-1);
    if (last?.style === style) last.text += ch;
    else spans.push({ style, text: ch });
  }
  return spans.map(({ style: { colour, isDim, isBold }, text }) => {
    const kinds = [isDim ? "d" : "", isBold ? "b" : ""].filter((kind) => kind !== "").join(" ");
    const marks = `${kinds === "" ? "" : ` class="${kinds}"`}${colour === null ? "" : ` fill="${colour}"`}`;
    return marks === "" ? escaped(text) : `<tspan${marks}>${escaped(text)}</tspan>`;
  });
}

/** A state of a line. The last one stays; the others are seen from their time to the next one's. */
function stateText({ cells }, row, fromSeconds, untilSeconds) {
  const drawn = runs(cells).join("");
  if (drawn.trim() === "") return "";
  const y = Math.round((row + 0.8) * CELL.height);
  const timing =
    untilSeconds === null
      ? `class="s" style="animation-delay:${fromSeconds.toFixed(2)}s"`
      : `class="t" style="animation-duration:${(untilSeconds - fromSeconds).toFixed(2)}s;animation-delay:${fromSeconds.toFixed(2)}s"`;
  return `<text y="${y}" ${timing}>${drawn}</text>`;
}

/** Rows scrolled away by a time, as the keyframes of an animation; the last is where the drawing stands. */
function scrolling(lines, time) {
  const rows = lines.map(({ states }, row) => ({
    row,
    seconds: time.at(states[0]?.atMs) ?? time.endSeconds,
  }));
  const shift = (row) => `transform:translateY(${-Math.max(0, row + 1 - ROWS) * CELL.height}px)`;
  const frames = rows
    .filter(({ row }) => row + 1 >= ROWS)
    .map(({ row, seconds }) => `${((100 * seconds) / time.endSeconds).toFixed(2)}%{${shift(row)}}`);
  return { frames: `0%{${shift(0)}}${frames.join("")}`, end: shift(lines.length - 1) };
}

/** The drawing. */
export function terminalSvg(recorded, title) {
  const lines = withoutEmptyEnd(recorded);
  const time = clock(lines);
  const scroll = scrolling(lines, time);
  const [width, height] = [
    COLUMNS * CELL.width + 2 * MARGIN.x,
    ROWS * CELL.height + MARGIN.top + MARGIN.bottom,
  ];
  const texts = lines.flatMap(({ states }, row) =>
    states.map((state, i) => {
      const next = states[i + 1];
      return stateText(state, row, time.at(state.atMs), next === undefined ? null : time.at(next.atMs));
    }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<style>
text{font:${CELL.font}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6edf3;white-space:pre}
.d{fill:#8b949e}.b{font-weight:bold}
.s{animation:appear 1ms linear backwards}.t{opacity:0;animation:stay 1s linear}
.scroll{${scroll.end};animation:scroll ${time.endSeconds.toFixed(2)}s step-end backwards}
@keyframes appear{from{opacity:0}}
@keyframes stay{from{opacity:1}to{opacity:1}}
@keyframes scroll{${scroll.frames}}
@media (prefers-reduced-motion:reduce){.s,.t,.scroll{animation:none}}
</style>
<rect width="${width}" height="${height}" rx="8" fill="#0d1117" stroke="#30363d"/>
<g fill="#30363d"><circle cx="20" cy="18" r="5"/><circle cx="38" cy="18" r="5"/><circle cx="56" cy="18" r="5"/></g>
<svg x="${MARGIN.x}" y="${MARGIN.top}" width="${COLUMNS * CELL.width}" height="${ROWS * CELL.height}"><g class="scroll">
${texts.filter((text) => text !== "").join("\n")}
</g></svg>
</svg>
`;
}

function withoutEmptyEnd(lines) {
  const last = lines.findLastIndex(({ states }) => textOf(states.at(-1)?.cells ?? []).trim() !== "");
  return lines.slice(0, last + 1);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, ...words] = process.argv.slice(2);
  if (path === undefined || words.length === 0)
    throw new Error("usage: terminal-recording.mjs FILE.svg COMMAND …");
  const command = words.join(" ");
  const prompt = [{ atMs: 0, bytes: Buffer.from(`$ ${command}\n`) }];
  const svg = terminalSvg(linesOf([...prompt, ...(await record(command))]), `A terminal: ${command}`);
  await writeFile(path, svg);
  console.log(`${path}: ${svg.length} bytes`);
}
