/** Who speaks. */
export type Role = "system" | "user" | "assistant" | "tool";

/** One turn of a conversation. Other fields (`tool_calls`, `name`, …) are passed on to the chat template as they are. */
export interface Message {
  readonly role: Role;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** What goes into a rendering beside the messages. */
export interface RenderOptions {
  /** End with the opening of an assistant turn, for the model to complete. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Tool descriptions (JSON schemas), for templates that list them. */
  readonly tools?: readonly unknown[];
  /** More template variables, e.g. `enable_thinking` or `date_string`. */
  readonly extra?: Readonly<Record<string, unknown>>;
}
