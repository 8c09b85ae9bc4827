import type { TextCodec } from "../../src/data/sequence.ts";
import { createChatTemplate } from "../../src/text/chat-template.ts";
import { createTokenizer } from "../../src/text/tokenizer.ts";
import { tinySource } from "../text/fixtures.ts";

/** What ChatML ends with to have the assistant answer. */
export const ASKING = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** ChatML without a system message of its own, as short as it gets. */
export const CHATML: string = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}${ASKING}`;

/** SmolLM2's tokenizer cut down to its first merges, with a chat template (none: null). */
export function chatCodec(chatTemplate: string | null = CHATML): TextCodec {
  const source = tinySource("smollm2", { chatTemplate });
  const tokenizer = createTokenizer(source);
  const template = chatTemplate === null ? null : createChatTemplate(source);
  return { tokenizer, template, eosIds: [tokenizer.eosId as number] };
}

/** Llama 2's kind: a BOS in front, no chat template. */
export function plainCodec(): TextCodec {
  const tokenizer = createTokenizer(tinySource("llama2"));
  return { tokenizer, template: null, eosIds: [tokenizer.eosId as number] };
}
