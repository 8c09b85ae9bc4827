// The thread that compiles grammars and follows answers: compiling takes up to seconds, and what is compiled cannot leave its instance.
import { setImmediate as nextTurn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { type AnswerForm, grammarText } from "./answer-form.ts";
import {
  type CompiledGrammar,
  type GrammarCompiler,
  type GrammarLibrary,
  type GrammarMatcher,
  loadGrammarLibrary,
  schemaRules,
} from "./grammar-library.ts";
import type { GrammarReply, GrammarRequest, GrammarTokens } from "./grammar-protocol.ts";

const KEPT_GRAMMARS = 16;

interface Instance {
  readonly library: GrammarLibrary;
  readonly compiler: GrammarCompiler;
  /** By the form; the one used last comes last. */
  readonly grammars: Map<string, CompiledGrammar>;
  /** What the library said last. */
  readonly heard: string[];
}

const vocabularies = new Map<number, GrammarTokens>();
const instances = new Map<number, Instance>();
const matchers = new Map<number, GrammarMatcher>();

async function openInstance({ bytes, ends, stopIds }: GrammarTokens): Promise<Instance> {
  const heard: string[] = [];
  const library = await loadGrammarLibrary((line) => void heard.splice(0, heard.length - 1, line));
  const vocab = Array.from(ends, (end, id) => bytes.subarray(id === 0 ? 0 : ends[id - 1], end));
  const info = await library.TokenizerInfo.createTokenizerInfo(vocab, "raw", false, vocab.length, stopIds);
  const compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
  return { library, compiler, grammars: new Map(), heard };
}

async function instanceOf(tokens: number): Promise<Instance> {
  const instance = instances.get(tokens) ?? (await openInstance(vocabularies.get(tokens) as GrammarTokens));
  instances.set(tokens, instance);
  return instance;
}

async function grammarOf({ library, compiler, grammars }: Instance, form: AnswerForm): Promise<object> {
  const key = JSON.stringify(form);
  const known = grammars.get(key);
  grammars.delete(key);
  const compile = async (): Promise<CompiledGrammar> => {
    const { text, root } = await grammarText(form, (schema) => schemaRules(library, schema));
    return compiler.compileGrammar(text, root);
  };
  const grammar = known ?? (await compile());
  grammars.set(key, grammar);
  if (grammars.size > KEPT_GRAMMARS) {
    const [oldest] = grammars.keys();
    grammars.get(oldest as string)?.dispose();
    grammars.delete(oldest as string);
  }
  return grammar;
}

async function begin(matcher: number, tokens: number, form: AnswerForm): Promise<Int32Array> {
  const instance = await instanceOf(tokens);
  try {
    const grammar = await grammarOf(instance, form);
    const made = await instance.library.GrammarMatcher.createGrammarMatcher(grammar);
    matchers.set(matcher, made);
    return await made.getNextTokenBitmask();
  } catch {
    // It stops as a whole: the next grammar gets a new instance. Matchers under way go on.
    instances.delete(tokens);
    throw new Error(instance.heard.join(" ").replace(/^.*?\.cc:\d+: /, ""));
  }
}

async function accept(matcher: number, id: number): Promise<Int32Array | null> {
  const made = matchers.get(matcher) as GrammarMatcher;
  if (!made.acceptToken(id)) throw new Error(`token ${id} does not fit`);
  return made.isTerminated() ? null : made.getNextTokenBitmask();
}

function reply(message: GrammarReply): void {
  parentPort?.postMessage(message);
}

/** Ends an answer, which may not have begun. */
function end(matcher: number): void {
  matchers.get(matcher)?.dispose();
  matchers.delete(matcher);
  const at = begins.findIndex((request) => request.matcher === matcher);
  if (at < 0) return;
  begins.splice(at, 1);
  reply({ matcher, error: "nobody waits for it any more" });
}

async function handle(request: GrammarRequest): Promise<void> {
  if (request.kind === "tokens") {
    vocabularies.set(request.tokens, request.given);
    return;
  }
  if (request.kind === "forget") {
    vocabularies.delete(request.tokens);
    instances.delete(request.tokens);
    return;
  }
  const { matcher } = request;
  if (request.kind === "end") {
    try {
      end(matcher);
    } catch {
      // of an instance that has stopped
    }
    return;
  }
  try {
    const mask =
      request.kind === "begin"
        ? await begin(matcher, request.tokens, request.form)
        : await accept(matcher, request.id);
    reply({ matcher, mask });
  } catch (error) {
    reply({ matcher, error: error instanceof Error ? error.message : String(error) });
  }
}

const begins: (GrammarRequest & { readonly kind: "begin" })[] = [];
/** All others: answers under way wait for one that begins, not for all of them. */
const others: GrammarRequest[] = [];
let isWorking = false;

async function work(): Promise<void> {
  if (isWorking) return;
  isWorking = true;
  for (let next = others.shift() ?? begins.shift(); next; next = others.shift() ?? begins.shift()) {
    await handle(next);
    if (next.kind === "begin") await nextTurn(); // hears what has come meanwhile
  }
  isWorking = false;
}

parentPort?.on("message", (request: GrammarRequest) => {
  if (request.kind === "begin") begins.push(request);
  else others.push(request);
  void work();
});
