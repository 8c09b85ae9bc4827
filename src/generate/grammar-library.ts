import { readFile } from "node:fs/promises";
import nodeModule, { createRequire } from "node:module";
import type { JsonSchema } from "./json-schema.ts";

/** What is used of @mlc-ai/web-xgrammar: XGrammar, compiled to WebAssembly. */
export interface GrammarLibrary {
  readonly TokenizerInfo: {
    /** `vocab`: what each id adds to a text, in bytes; ids without bytes are never allowed, `stopIds` where the text is complete. */
    createTokenizerInfo(
      vocab: readonly Uint8Array[],
      type: "raw",
      prependSpace: boolean,
      vocabSize: number,
      stopIds: readonly number[],
    ): Promise<object>;
  };
  readonly GrammarCompiler: {
    createGrammarCompiler(info: object, isCached: boolean): Promise<GrammarCompiler>;
  };
  readonly GrammarMatcher: { createGrammarMatcher(grammar: object): Promise<GrammarMatcher> };
  readonly Testings: {
    /** The grammar that the library itself makes of a schema. */
    _jsonSchemaToEBNF(
      schema: string,
      anyWhitespace: boolean,
      /** −1: the whole on one line. */
      indent: number,
      separators: undefined,
      isStrict: boolean,
    ): Promise<string>;
  };
}

export interface GrammarCompiler {
  compileGrammar(rules: string, root: string): Promise<CompiledGrammar>;
}

export interface CompiledGrammar {
  dispose(): void;
}

export interface GrammarMatcher {
  /** False: the token does not fit. */
  acceptToken(id: number): boolean;
  /** Bit i of the whole: token i may come next. */
  getNextTokenBitmask(): Promise<Int32Array>;
  isTerminated(): boolean;
  dispose(): void;
}

/** The library, as an instance of its own; what it has to say goes to `heard`. It is evaluated here because its file, which is no ES
 *  module, says in its package.json that it is one, so that Node (20, 22, 24) neither imports nor requires it (version 0.1.27); and because
 *  it writes to the console. Its one dynamic import, of a module of Node, is handed over, since evaluated code has none everywhere. */
export async function loadGrammarLibrary(heard: (line: string) => void): Promise<GrammarLibrary> {
  const require = createRequire(import.meta.url);
  const path = require.resolve("@mlc-ai/web-xgrammar");
  const source = (await readFile(path, "utf8")).replace("await import('module')", "nodeModule");
  const names = ["exports", "module", "require", "__filename", "nodeModule", "console"];
  const evaluate = new Function(...names, source);
  const module = { exports: {} };
  const say = (...parts: readonly unknown[]): void => heard(parts.join(" "));
  const output = { log: say, warn: say, error: say };
  evaluate(module.exports, module, require, path, nodeModule, output);
  return module.exports as GrammarLibrary;
}

const ON_ONE_LINE = -1;

/** Rules of what fits a schema, on one line; the whole is "root". */
export async function schemaRules({ Testings }: GrammarLibrary, schema: JsonSchema): Promise<string> {
  const rules = await Testings._jsonSchemaToEBNF(JSON.stringify(schema), false, ON_ONE_LINE, undefined, true);
  // In texts of a stated length the library allows control characters, which JSON does not (0.1.27). Quotes are escaped in what comes
  // from the schema, so this stands nowhere else.
  return rules.replaceAll('[^"\\\\\\r\\n]', '[^\\0-\\x1f"\\\\]');
}
