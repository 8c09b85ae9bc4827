import type { Tokenizer } from "../text/tokenizer.ts";
import type { AnswerForm } from "./answer-form.ts";
import type { GrammarTokens } from "./grammar-protocol.ts";
import { type GrammarThread, startGrammarThread } from "./grammar-thread.ts";

/** The model whose tokens a grammar allows. */
export interface GrammarModel {
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  /** Special tokens that are part of a text. */
  readonly shown: readonly string[];
}

/** A thread, and an answer's place in it. */
export interface GrammarPlace {
  readonly thread: GrammarThread;
  /** Number of the model's tokens there. */
  readonly tokens: number;
  /** The answer is over. */
  leave(): void;
}

/** One compiles while the other follows answers; each holds the tokens of a model (some 50 MB). */
const MOST_THREADS = 2;
/** As many as a thread keeps. */
const KEPT_FORMS = 16;

interface Member {
  readonly thread: GrammarThread;
  /** Numbers of a tokenizer's tokens, by those shown. */
  readonly tokens: WeakMap<Tokenizer, Map<string, number>>;
  /** Forms that it has compiled, the one used last comes last. */
  readonly forms: Set<string>;
  /** Answers that are there. */
  answers: number;
}

let members: readonly Member[] = [];

/** A place for an answer: where its form is compiled already, or else where nobody waits while it is. */
export function grammarPlace(form: AnswerForm, model: GrammarModel): GrammarPlace {
  const shown = model.shown.join("\n");
  const key = `${shown}\n${JSON.stringify(form)}`;
  const member = memberFor(key);
  member.forms.delete(key);
  member.forms.add(key);
  if (member.forms.size > KEPT_FORMS) member.forms.delete([...member.forms][0] as string);
  const ofTokenizer = member.tokens.get(model.tokenizer) ?? new Map<string, number>();
  member.tokens.set(model.tokenizer, ofTokenizer);
  const tokens = ofTokenizer.get(shown) ?? addTokens(member.thread, model);
  ofTokenizer.set(shown, tokens);
  member.answers++;
  let isThere = true;
  const leave = (): void => {
    if (isThere) member.answers--;
    isThere = false;
  };
  return { thread: member.thread, tokens, leave };
}

const collected = new FinalizationRegistry<() => void>((forget) => forget());

/** The thread forgets them when the tokenizer is gone. */
function addTokens(thread: GrammarThread, model: GrammarModel): number {
  const tokens = thread.addTokens(tokensOf(model));
  collected.register(model.tokenizer, () => thread.forget(tokens));
  return tokens;
}

function memberFor(key: string): Member {
  const [least] = [...members].sort((a, b) => a.answers - b.answers);
  const known = members.find(({ forms }) => forms.has(key));
  if (known) return known;
  if (least && (least.answers === 0 || members.length === MOST_THREADS)) return least;
  return startMember();
}

function startMember(): Member {
  const thread = startGrammarThread(() => {
    members = members.filter((one) => one !== member);
  });
  const member: Member = { thread, tokens: new WeakMap(), forms: new Set(), answers: 0 };
  members = [...members, member];
  return member;
}

/** Bytes that are part of no UTF-8; the library allows some of them in texts. */
function isText(byte: number): boolean {
  return byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5;
}

function tokensOf({ tokenizer, vocabSize, eosIds, shown }: GrammarModel): GrammarTokens {
  const isShown = new Set(shown.map((token) => tokenizer.tokenId(token)));
  const parts: Uint8Array[] = [];
  const ends = new Uint32Array(vocabSize);
  let size = 0;
  for (let id = 0; id < vocabSize; id++) {
    const bytes = tokenizer.tokenBytes(id);
    if ((!tokenizer.isSpecial(id) || isShown.has(id)) && bytes.every(isText)) {
      parts.push(bytes);
      size += bytes.length;
    }
    ends[id] = size;
  }
  return { bytes: Buffer.concat(parts), ends, stopIds: eosIds };
}
