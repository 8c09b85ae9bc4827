/** Markup that is safe to put into a page; made only by the functions here. */
export interface Html {
  readonly markup: string;
}

type Part = string | number | Html | readonly Html[];

/** Template tag: texts are escaped, markup is put in as it is. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { markup: strings.reduce((all, text, i) => all + render(parts[i - 1] as Part) + text) };
}

/** Markup from a trusted producer (the chart library's SVG). */
export function trusted(markup: string): Html {
  return { markup };
}

function render(part: Part): string {
  if (typeof part === "string" || typeof part === "number") return escapeHtml(String(part));
  return "markup" in part ? part.markup : part.map((one) => one.markup).join("");
}

/** Text as the content or an attribute of an element. */
export function escapeHtml(text: string): string {
  return text
    .replace(/[&<>"']/g, (ch) => `&#${ch.charCodeAt(0)};`)
    .replace(/\p{Cc}/gu, (ch) => (/\s/.test(ch) ? ch : "\uFFFD")); // control characters are not valid in a page
}

/** A table of labels and texts. */
export function definitions(rows: readonly (readonly [string, string | Html])[]): Html {
  return html`<table class="facts">${rows.map(([label, value]) => html`<tr><th>${label}</th><td>${value}</td></tr>`)}</table>`;
}

/** A table with a heading row. */
export function grid(
  heading: readonly string[],
  rows: readonly (readonly (string | Html)[])[],
  kind = "",
): Html {
  const head = heading.map((cell) => html`<th>${cell}</th>`);
  const body = rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`);
  return html`<table class="grid ${kind}"><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`;
}

/** A whole page that asks nothing of the network. */
export function page(title: string, body: readonly Html[]): string {
  return `${
    html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${title}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>`.markup
  }\n`;
}

const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --text: #222; --faint: #5f6670; --edge: #e2e5ea; --rule: #eef0f3;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #15181d; --card: #1e2229; --text: #e4e7eb; --faint: #a0a8b3; --edge: #333a44; --rule: #2b313a; }
}
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; }
.tile, .card { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: 12px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span, .note { color: var(--faint); font-size: 13px; }
.note { margin: 6px 0 0; }
.card { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 560px; height: auto; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 12px; }
.maps svg { min-width: 0; max-width: 460px; margin: 0 auto; }
.maps h3 { font-size: 15px; margin: 0 0 4px; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--faint); }
td, th { padding: 5px 14px 5px 0; vertical-align: top; }
tr + tr > *, thead + tbody > tr > * { border-top: 1px solid var(--rule); }
.facts td, .samples td { overflow-wrap: anywhere; }
.facts th { width: 190px; font-weight: 400; }
.halves { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 0 32px; }
.halves .facts { align-self: start; }
.samples { table-layout: fixed; min-width: 640px; }
.samples td { white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; }
.numbers { font-variant-numeric: tabular-nums; font-size: 13px; }
.numbers td { white-space: nowrap; }
.changed { font-weight: 600; }
code { font: 13px ui-monospace, monospace; background: var(--rule); padding: 1px 5px; border-radius: 4px; }
@media (max-width: 600px) { .facts th { width: 120px; } }
@media print { :root { color-scheme: light; } body { background: #fff; } }
`;
