import type { CommandEntry } from "./command.ts";

/** Every command: a new one is its file and a line here. */
export const commands: readonly CommandEntry[] = [
  { name: "train", summary: "fine-tune a model with an adapter", load: () => import("./train.ts") },
  { name: "generate", summary: "answer a prompt", load: () => import("./generate.ts") },
  { name: "chat", summary: "talk with a model", load: () => import("./chat.ts") },
  {
    name: "serve",
    summary: "answer OpenAI's clients over HTTP",
    load: () => import("./serve.ts"),
  },
  {
    name: "jobs",
    summary: "list, follow and cancel a server's fine-tuning jobs",
    load: () => import("./jobs.ts"),
  },
  {
    name: "classify",
    summary: "tell the classes of texts with an encoder",
    load: () => import("./classify.ts"),
  },
  { name: "evaluate", summary: "measure a model on data", load: () => import("./evaluate.ts") },
  { name: "merge", summary: "fold an adapter into its base model", load: () => import("./merge.ts") },
  {
    name: "export",
    summary: "write a model for other programs",
    load: () => import("./export.ts"),
  },
  {
    name: "convert",
    summary: "write an adapter in another program's format",
    load: () => import("./convert.ts"),
  },
  { name: "combine", summary: "make one adapter of several", load: () => import("./combine.ts") },
  {
    name: "push",
    summary: "upload an adapter or a merged model to the Hub",
    load: () => import("./push.ts"),
  },
  { name: "inspect", summary: "say what a model, adapter or run is", load: () => import("./inspect.ts") },
  { name: "explain", summary: "say what an adapter changes, in numbers", load: () => import("./explain.ts") },
  {
    name: "paper",
    summary: "measure what the LoRA paper claims",
    load: () => import("./paper.ts"),
  },
  { name: "devices", summary: "say where this machine can compute", load: () => import("./devices.ts") },
  { name: "env", summary: "say what a report of a defect needs", load: () => import("./env.ts") },
];
