import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFileAtomic } from "../../io/disk.ts";
import { createChatTemplate } from "../../text/chat-template.ts";
import type { Message } from "../../text/messages.ts";
import type { ModelSource, TokenizerSource } from "../model.ts";
import { OLLAMA_TEMPLATES, type OllamaTemplate } from "./modelfile-templates.ts";

/** A template, and the system message that it has where none is given. */
export interface FoundTemplate {
  readonly template: OllamaTemplate;
  readonly system: string | null;
}

const [HELLO, HI, MORE, RULES] = ["Hello there", "Hi.", "Tell me more", "Be brief."];
const user = (content: string): Message => ({ role: "user", content });
const SYSTEM: Message = { role: "system", content: RULES };
const TURNS: readonly Message[] = [user(HELLO), { role: "assistant", content: HI }, user(MORE)];

/** The template of the table that makes of conversations what the model's own does, to the letter; null for none. Those that refuse
 *  system messages are compared without. */
export function ollamaTemplateOf(source: TokenizerSource): FoundTemplate | null {
  if (source.chatTemplate === null) return null;
  const { bosToken } = source;
  const render = (messages: readonly Message[]): string | null => {
    try {
      const text = createChatTemplate(source).render(messages, { addGenerationPrompt: true });
      return bosToken !== null && text.startsWith(bosToken) ? text.slice(bosToken.length) : text;
    } catch {
      return null; // it refuses them
    }
  };
  const [alone, asked] = [render(TURNS), render([SYSTEM, ...TURNS])];
  for (const template of OLLAMA_TEMPLATES) {
    if (asked !== null && asked !== template.render([SYSTEM, ...TURNS])) continue;
    if (alone === template.render(TURNS)) return { template, system: null };
    const system = asked === null || alone === null ? null : defaultSystem(template, alone);
    if (system !== null) return { template, system };
  }
  return null;
}

/** The system message with which a template gives this text. */
function defaultSystem(template: OllamaTemplate, text: string): string | null {
  const [before, after] = template.render([{ ...SYSTEM, content: "\0" }, ...TURNS]).split("\0") as [
    string,
    string,
  ];
  const isInside =
    text.length > before.length + after.length && text.startsWith(before) && text.endsWith(after);
  return isInside ? text.slice(before.length, text.length - after.length) : null;
}

/** What a Modelfile is made from. */
export interface ModelfileParts {
  /** The model, a path. */
  readonly from: string;
  /** An adapter, a path. */
  readonly adapter?: string;
  readonly found: FoundTemplate | null;
  /** Texts that end an answer. */
  readonly stops: readonly string[];
}

const quoted = (text: string): string => `"""${text}"""`;

/** The text of a Modelfile (https://github.com/ollama/ollama/blob/main/docs/modelfile.md). */
export function modelfileText({ from, adapter, found, stops }: ModelfileParts): string {
  const lines = [
    `FROM ${from}`,
    ...(adapter === undefined ? [] : [`ADAPTER ${adapter}`]),
    ...(found ? [`TEMPLATE ${quoted(found.template.go)}`] : []),
    ...(found?.system ? [`SYSTEM ${quoted(found.system)}`] : []),
    ...[...new Set(stops)].map((stop) => `PARAMETER stop ${JSON.stringify(stop)}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** Texts of the tokens that end generation. */
function endTexts({ tokenizer, eosIds }: Pick<ModelSource, "tokenizer" | "eosIds">): string[] {
  const added = (tokenizer.tokenizerJson.added_tokens ?? []) as { id: number; content: string }[];
  return added.filter(({ id }) => eosIds.includes(id)).map(({ content }) => content);
}

/** Writes a Modelfile for Ollama beside a GGUF file; one that is there stays. Returns what should be said.
 *  @throws LowrankError ("storage") */
export async function writeModelfile(
  file: string,
  source: Pick<ModelSource, "tokenizer" | "eosIds">,
  parts: Pick<ModelfileParts, "from" | "adapter">,
): Promise<readonly string[]> {
  const path = join(dirname(file), "Modelfile");
  if ((await stat(path).catch(() => null)) !== null)
    return [`${path} is there already, and stays as it is: it is not for ${file}`];
  const found = ollamaTemplateOf(source.tokenizer);
  const stops = [...(found ? [found.template.stop] : []), ...endTexts(source)];
  await writeFileAtomic(path, modelfileText({ ...parts, found, stops }));
  if (found !== null || source.tokenizer.chatTemplate === null) return [];
  const known = OLLAMA_TEMPLATES.map(({ name }) => name).join(", ");
  return [
    `${path} has no TEMPLATE: the model's chat template is none that can be stated in Ollama's form (${known})`,
  ];
}
