import { InputError, RuntimeError } from "../errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import {
  type GrammarCompiler,
  type GrammarLibrary,
  type GrammarMatcher,
  loadGrammarLibrary,
} from "./grammar-library.ts";
import type { JsonSchema } from "./json-schema.ts";

/** What an answer must be: any JSON object, or what fits a schema. */
export type ResponseFormat = "json" | JsonSchema;

/** Holds one answer to its form, token by token. */
export interface Grammar {
  /** Bit i of the whole: token i may come next. @throws RuntimeError in the same turn of the event loop as `accept` */
  mask(): Int32Array;
  /** Takes the token that came next. @throws RuntimeError for one that may not */
  accept(id: number): void;
}

/** The model whose tokens a grammar allows. */
export interface GrammarModel {
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
}

const ON_ONE_LINE = -1;
const KEPT_GRAMMARS = 16;

interface Compiled {
  readonly library: GrammarLibrary;
  readonly compiler: GrammarCompiler;
  /** By the text of the schema; the one used last comes last. */
  readonly grammars: Map<string, { dispose(): void }>;
  /** What the library said last. */
  readonly heard: string[];
}

const compilers = new WeakMap<Tokenizer, Promise<Compiled>>();
const forgotten = new FinalizationRegistry<GrammarMatcher>((matcher) => matcher.dispose());

/** Grammar of one answer. The library and the model's tokens are made ready with the first one.
 *  @throws InputError for a schema that the library cannot compile; `schemaProblems` tells most in advance */
export async function createGrammar(format: ResponseFormat, model: GrammarModel): Promise<Grammar> {
  const schema = JSON.stringify(format === "json" ? { type: "object" } : format);
  const compiled = await (compilers.get(model.tokenizer) ?? prepareTokens(model));
  const matcher = await compiled.library.GrammarMatcher.createGrammarMatcher(
    await grammarOf(compiled, schema, model.tokenizer),
  );
  let mask: Int32Array | null = await matcher.getNextTokenBitmask();
  const grammar: Grammar = {
    mask: () => {
      if (mask === null) throw new RuntimeError("the grammar's next tokens are not ready");
      return mask;
    },
    accept: (id) => {
      if (!matcher.acceptToken(id)) throw new RuntimeError(`token ${id} does not fit the response format`);
      mask = null;
      if (!matcher.isTerminated())
        void matcher.getNextTokenBitmask().then((next) => {
          mask = next;
        });
    },
  };
  forgotten.register(grammar, matcher);
  return grammar;
}

function prepareTokens(model: GrammarModel): Promise<Compiled> {
  const { tokenizer, vocabSize, eosIds } = model;
  const prepare = async (): Promise<Compiled> => {
    const heard: string[] = [];
    const library = await loadGrammarLibrary((line) => void heard.splice(0, heard.length - 1, line));
    const none = new Uint8Array(0);
    // An answer stands on one line: the library's strings of a stated length would allow control characters, which JSON does not, and
    // bytes that are never part of UTF-8.
    const isText = (byte: number): boolean => byte >= 0x20 && byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5;
    const isAllowed = (id: number): boolean =>
      !tokenizer.isSpecial(id) && tokenizer.tokenBytes(id).every(isText);
    const vocab = Array.from({ length: vocabSize }, (_, id) =>
      isAllowed(id) ? tokenizer.tokenBytes(id) : none,
    );
    const info = await library.TokenizerInfo.createTokenizerInfo(vocab, "raw", false, vocabSize, eosIds);
    const compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
    return { library, compiler, grammars: new Map(), heard };
  };
  const made = prepare();
  compilers.set(tokenizer, made);
  return made;
}

async function grammarOf(
  { compiler, grammars, heard }: Compiled,
  schema: string,
  tokenizer: Tokenizer,
): Promise<object> {
  const known = grammars.get(schema);
  grammars.delete(schema);
  const grammar =
    known ??
    (await compiler.compileJSONSchema(schema, false, ON_ONE_LINE, undefined, true).catch(() => {
      // It stops as a whole: the next grammar gets a new instance. Matchers under way go on.
      compilers.delete(tokenizer);
      throw new InputError("the response format cannot be held to", [
        { where: "responseFormat", message: heard.join(" ").replace(/^.*?\.cc:\d+: /, "") },
      ]);
    }));
  grammars.set(schema, grammar);
  if (grammars.size > KEPT_GRAMMARS) {
    const [oldest] = grammars.keys();
    grammars.get(oldest as string)?.dispose();
    grammars.delete(oldest as string);
  }
  return grammar;
}
