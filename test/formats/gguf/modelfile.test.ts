import { expect, test } from "vitest";
import { modelfileText, ollamaTemplateOf } from "../../../src/formats/gguf/modelfile.ts";
import type { TokenizerSource } from "../../../src/formats/model.ts";

const source = (chatTemplate: string | null, bosToken: string | null = null): TokenizerSource => ({
  ...{ tokenizerJson: {}, tokenizerConfig: {}, chatTemplate, bosToken },
  ...{ eosToken: null, padToken: null, unkToken: null, addBos: bosToken !== null },
});

const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/** SmolLM2's, which has a system message of its own. */
const SMOLLM2 = CHATML.replace(
  "{{ '<|im_start|>'",
  "{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\nYou are Smol<|im_end|>\n' }}{% endif %}{{ '<|im_start|>'",
);
const LLAMA3 =
  "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>" +
  "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";
const GEMMA =
  "{{ bos_token }}{% set ns = namespace(p='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.p = m.content + '\n\n' %}" +
  "{% else %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + ns.p + m.content + '<end_of_turn>\n' }}" +
  "{% set ns.p = '' %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
const PHI3 =
  "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}{{ '<|assistant|>\n' }}";
const MISTRAL =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% elif m.role == 'user' %}" +
  "{{ ' [INST] ' + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content + '</s>' }}{% endif %}{% endfor %}";

test.each<[string, string, string | null, string | null]>([
  ["chatml", CHATML, null, null],
  ["chatml", SMOLLM2, null, "You are Smol"],
  ["llama3", LLAMA3, "<|begin_of_text|>", null],
  ["gemma", GEMMA, "<bos>", null],
  ["phi3", PHI3, null, null],
  ["mistral", MISTRAL, "<s>", null],
])("%s is told by what it renders", (name, template, bosToken, system) => {
  const found = ollamaTemplateOf(source(template, bosToken));
  expect([found?.template.name, found?.system]).toEqual([name, system]);
});

test("a template that is not known is not guessed", () => {
  expect(ollamaTemplateOf(source(null))).toBeNull();
  expect(ollamaTemplateOf(source(CHATML.replace("<|im_end|>", "<|im_stop|>")))).toBeNull();
  // The date is said first, as Llama 3.2's does.
  expect(ollamaTemplateOf(source(`Today is {{ strftime_now("%d") }}. ${CHATML}`))).toBeNull();
  const trimmed = CHATML.replace("add_generation_prompt", "false");
  expect(ollamaTemplateOf(source(trimmed)), "the head of the answer").toBeNull();
});

test("the text, with an adapter", () => {
  const found = ollamaTemplateOf(source(SMOLLM2));
  const parts = {
    from: "/m/base.gguf",
    adapter: "./a.gguf",
    found,
    stops: ["<|im_end|>", "<|im_end|>", "</s>"],
  };
  expect(modelfileText(parts)).toBe(
    'FROM /m/base.gguf\nADAPTER ./a.gguf\nTEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}\n' +
      '{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"""\nSYSTEM """You are Smol"""\n' +
      'PARAMETER stop "<|im_end|>"\nPARAMETER stop "</s>"\n',
  );
});
