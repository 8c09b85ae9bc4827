// Writes the import rules of biome.json from the table of layers below.
// usage: node scripts/import-rules.mjs [--check]     --check: only says whether biome.json agrees with the table
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** Layers of src, the lowest first; those of a line may import each other. docs/architecture.md says what each is. */
export const LAYERS = [
  ["errors"],
  ["tensor", "options", "parallel"],
  ["io"],
  ["text", "formats", "graph"],
  ["hub"],
  ["runtime", "optim", "models", "data"],
  ["peft"],
  ["objectives"],
  ["train", "evaluate", "inspect", "explain", "generate"],
  ["server", "browser"],
  ["cli"],
];

/** The one layer that may import ONNX Runtime. */
const RUNTIME = "runtime";
const ROOT = new URL("..", import.meta.url);

function restricted(includes, patterns) {
  const options = { patterns };
  return {
    includes,
    linter: { rules: { style: { noRestrictedImports: { level: "error", options } } } },
  };
}

/** Folders within a layer, whose names an import may hold as well. */
function foldersOf(layer) {
  if (layer === "errors") return [];
  try {
    const entries = readdirSync(new URL(`src/${layer}/`, ROOT), { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return []; // a layer that is not there yet
  }
}

/** Rules of a layer. Where a folder in it is called like a layer above (formats/peft), only as many steps up as lead out of the layer
 *  are meant, so files of each depth have rules of their own. */
function rulesOf(layer, above) {
  const message = `Imports point down: src/${layer} may not import from a layer above it (CONTRIBUTING.md).`;
  const onnx =
    layer === RUNTIME
      ? []
      : [{ group: ["onnxruntime-*"], message: `Only src/${RUNTIME} may import ONNX Runtime.` }];
  const alike = above.filter((name) => foldersOf(layer).includes(name));
  const anywhere = above.filter((name) => !alike.includes(name)).map((name) => `**/${name}/**`);
  // A folder of a layer that may be imported, called like a layer that may not.
  const exceptions = LAYERS.flat()
    .filter((below) => below !== layer && !above.includes(below))
    .flatMap((below) =>
      above.filter((name) => foldersOf(below).includes(name)).map((name) => `!**/${below}/${name}/**`),
    );
  const index = ["../index.ts", "../../index.ts", "../../../index.ts"];
  const group = (steps) => [
    ...anywhere,
    ...alike.flatMap((name) => steps.map((up) => `${up}${name}/**`)),
    ...index,
    ...exceptions,
  ];
  const rule = (includes, steps) => restricted(includes, [{ group: group(steps), message }, ...onnx]);
  if (layer === "errors") return [rule(["src/errors.ts"], [])];
  if (alike.length === 0) return [rule([`src/${layer}/**`], [])];
  return [rule([`src/${layer}/*.ts`], ["../"]), rule([`src/${layer}/*/**`], ["../../", "../../../"])];
}

/** The overrides of biome.json that are import rules. */
export function importRules() {
  const rules = LAYERS.flatMap((layers, level) =>
    layers.flatMap((layer) => rulesOf(layer, LAYERS.slice(level + 1).flat())),
  );
  const outside = {
    group: ["**/src/**", "!**/src/index.ts", "onnxruntime-*"],
    message: "Experiments and benchmarks use the public surface only.",
  };
  return [...rules, restricted(["experiments/**", "bench/**"], [outside])];
}

/** biome.json with the rules of the table. */
export function withRules(text) {
  const config = JSON.parse(text);
  const isRule = ({ linter }) => linter?.rules?.style?.noRestrictedImports !== undefined;
  return { ...config, overrides: [...importRules(), ...config.overrides.filter((rule) => !isRule(rule))] };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const path = new URL("biome.json", ROOT);
  const text = readFileSync(path, "utf8");
  const wanted = withRules(text);
  const agrees = JSON.stringify(JSON.parse(text)) === JSON.stringify(wanted);
  if (!process.argv.includes("--check")) writeFileSync(path, `${JSON.stringify(wanted, null, 2)}\n`);
  else if (!agrees) {
    console.error("biome.json does not agree with scripts/import-rules.mjs: run it");
    process.exitCode = 1;
  }
}
