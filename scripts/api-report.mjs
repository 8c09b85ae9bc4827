// Writes api/*.api.md: every exported name of each entry point of package.json with its declaration, sorted, from the built
// declarations. test/package/api.test.ts fails where they differ.
// usage: npm run build && node scripts/api-report.mjs
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = new URL("..", import.meta.url);
const path = (file) => fileURLToPath(new URL(file, ROOT));

/** Entry points with types: `{ name: "lowrank/graph", types: "./dist/graph/index.d.ts" }`. */
function entryPoints() {
  const { name, exports } = JSON.parse(readFileSync(path("package.json"), "utf8"));
  return Object.entries(exports)
    .filter(([, target]) => target.types !== undefined)
    .map(([key, { types }]) => ({ name: `${name}${key.slice(1)}`, types }));
}

/** A declaration without comments, bodies or `export declare`. */
function declarationText(node, printer) {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  const text = printer.printNode(ts.EmitHint.Unspecified, statement, statement.getSourceFile());
  return text.replace(/^(export )?(declare )?/, "");
}

/** Symbols of the build that a declaration mentions: types, bases, constants behind `typeof`. */
function mentioned(declaration, checker) {
  const found = [];
  const visit = (node) => {
    const symbol = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined;
    if (symbol !== undefined) found.push(original(symbol, checker));
    ts.forEachChild(node, visit);
  };
  visit(declaration);
  const dist = path("dist/");
  return found.filter(({ declarations }) =>
    declarations?.some((one) => one.getSourceFile().fileName.startsWith(dist) && isTopLevel(one)),
  );
}

function isTopLevel(node) {
  const statement = ts.isVariableDeclaration(node) ? node.parent.parent : node;
  return ts.isSourceFile(statement.parent);
}

function original(symbol, checker) {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

/** The symbols and what they mention, what that mentions, and so on. */
function closure(symbols, checker) {
  const all = new Set(symbols); // a Set gives what is added while it is walked
  for (const symbol of all)
    for (const one of symbol.declarations ?? []) for (const other of mentioned(one, checker)) all.add(other);
  return all;
}

/** What an entry point exports, and what that mentions without being exported (options stand in such types), each sorted by name. */
function reportOf({ name, types }, program) {
  const checker = program.getTypeChecker();
  const printer = ts.createPrinter({ removeComments: true });
  const file = program.getSourceFile(path(types));
  if (file === undefined) throw new Error(`${types} is not there: run \`npm run build\` first`);
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(file));
  const exported = new Set(symbols.map((symbol) => original(symbol, checker)));
  const hidden = [...closure(exported, checker)].filter((symbol) => !exported.has(symbol));
  const list = (of) =>
    of
      .map((symbol) => ({ name: symbol.name, target: original(symbol, checker) }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name: as, target }) => {
        if (!target.declarations?.length) throw new Error(`${name}: ${as} has no declaration`);
        const renamed = target.name === as ? "" : `// as ${as}\n`;
        return renamed + target.declarations.map((one) => declarationText(one, printer)).join("\n");
      })
      .join("\n\n");
  return [
    `# ${name}\n`,
    "The public surface, written by `node scripts/api-report.mjs` (after `npm run build`).\n",
    `\`\`\`ts\n${list(symbols)}\n\`\`\`\n`,
    ...(hidden.length > 0 ? [`Mentioned, not exported:\n\n\`\`\`ts\n${list(hidden)}\n\`\`\`\n`] : []),
  ].join("\n");
}

/** The reports by file name. */
export function apiReports() {
  const entries = entryPoints();
  const program = ts.createProgram(
    entries.map(({ types }) => path(types)),
    {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2023,
      strict: true,
      skipLibCheck: true,
      noEmit: true,
    },
  );
  return new Map(
    entries.map((entry) => [`${entry.name.replace("/", "-")}.api.md`, reportOf(entry, program)]),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(path("api"), { recursive: true });
  for (const [file, text] of apiReports()) writeFileSync(path(`api/${file}`), text);
}
