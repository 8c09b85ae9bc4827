import type { ChatTemplate } from "./chat-template.ts";
import { contentText, type Message, type RenderOptions } from "./messages.ts";

/** A template that is given more variables at every rendering, and a fixed time (default: that of the rendering). Contents in parts go
 *  to templates that take them so, as their text to the others. */
export function withVariables(
  template: ChatTemplate,
  args: Readonly<Record<string, unknown>>,
  now?: Date,
): ChatTemplate {
  const completed = (options: RenderOptions = {}): RenderOptions => ({
    ...(now === undefined ? {} : { now }),
    ...options,
    extra: { ...args, ...options.extra },
  });
  return {
    ...template,
    render: (messages, options) => template.render(readable(template, messages), completed(options)),
    rendering: (messages, options) => template.rendering(readable(template, messages), completed(options)),
  };
}

/** Messages as a template reads them: parts of a content joined where it takes texts only. */
function readable(template: ChatTemplate, messages: readonly Message[]): readonly Message[] {
  if (!messages.some(({ content }) => Array.isArray(content)) || takesParts(template)) return messages;
  return messages.map((message) =>
    Array.isArray(message.content) ? { ...message, content: contentText(message) } : message,
  );
}

const PROBE = "probe";
const partsTaken = new WeakMap<ChatTemplate, boolean>();

/** Whether a template writes the text of a content in parts as it writes a text. */
function takesParts(template: ChatTemplate): boolean {
  const known = partsTaken.get(template);
  if (known !== undefined) return known;
  const shown = (content: Message["content"]): string | null => {
    try {
      return template.render([{ role: "user", content: content ?? "" }]);
    } catch {
      return null; // it refuses parts
    }
  };
  const whole = shown(PROBE);
  const takes = whole !== null && shown([{ type: "text", text: PROBE }]) === whole;
  partsTaken.set(template, takes);
  return takes;
}
