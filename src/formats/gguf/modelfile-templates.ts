import type { Message } from "../../text/messages.ts";

/** A chat template that Ollama's Go templates can state. */
export interface OllamaTemplate {
  readonly name: string;
  /** In Go's form: `.Messages` are all of a conversation, the system message among them. */
  readonly go: string;
  /** What it makes of a conversation, with the head of the answer, without the first token. */
  readonly render: (messages: readonly Message[]) => string;
  /** What ends an answer. */
  readonly stop: string;
}

/** Every message in the same frame; `answer`: the head of the next one. */
function framed(
  name: string,
  [before, between, after]: readonly [before: string, between: string, after: string],
  answer: string,
  stop: string,
): OllamaTemplate {
  return {
    name,
    go: `{{- range .Messages }}${before}{{ .Role }}${between}{{ .Content }}${after}{{ end }}${answer}`,
    render: (messages) =>
      messages.map(({ role, content }) => `${before}${role}${between}${content}${after}`).join("") + answer,
    stop,
  };
}

const USER = "<start_of_turn>user\n";
const MODEL = "<start_of_turn>model\n";
const END = "<end_of_turn>\n";

/** Gemma's: a system message stands in front of the first of the user. */
const gemma: OllamaTemplate = {
  name: "gemma",
  go:
    `{{- $open := false }}{{- range .Messages }}{{- if eq .Role "system" }}${USER}{{ .Content }}\n\n{{ $open = true }}` +
    `{{- else if eq .Role "assistant" }}${MODEL}{{ .Content }}${END}` +
    `{{- else }}{{ if not $open }}${USER}{{ end }}{{ $open = false }}{{ .Content }}${END}{{ end }}{{ end }}${MODEL}`,
  render: (messages) => {
    let isOpen = false;
    const parts = messages.map(({ role, content }) => {
      if (role === "assistant") return `${MODEL}${content}${END}`;
      const head = isOpen ? "" : USER;
      isOpen = role === "system";
      return `${head}${content}${isOpen ? "\n\n" : END}`;
    });
    return parts.join("") + MODEL;
  },
  stop: "<end_of_turn>",
};

/** Mistral's first form. */
const mistral: OllamaTemplate = {
  name: "mistral",
  go: `{{- range .Messages }}{{ if eq .Role "assistant" }} {{ .Content }}</s>{{ else }} [INST] {{ .Content }} [/INST]{{ end }}{{ end }}`,
  render: (messages) =>
    messages
      .map(({ role, content }) => (role === "assistant" ? ` ${content}</s>` : ` [INST] ${content} [/INST]`))
      .join(""),
  stop: "</s>",
};

/** Those that are known. */
export const OLLAMA_TEMPLATES: readonly OllamaTemplate[] = [
  framed("chatml", ["<|im_start|>", "\n", "<|im_end|>\n"], "<|im_start|>assistant\n", "<|im_end|>"),
  framed(
    "llama3",
    ["<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"],
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<|eot_id|>",
  ),
  gemma,
  framed("phi3", ["<|", "|>\n", "<|end|>\n"], "<|assistant|>\n", "<|end|>"),
  framed("zephyr", ["<|", "|>\n", "</s>\n"], "<|assistant|>\n", "</s>"),
  mistral,
];
