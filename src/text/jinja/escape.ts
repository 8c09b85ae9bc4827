import { produce } from "./limits.ts";
import { rewriteMatches } from "./print.ts";
import type { Runtime } from "./state.ts";
import type { Text } from "./text.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** markupsafe's `escape`: Markup stays as it is. */
export function escaped(rt: Runtime, text: Text): Text {
  return text.markup ? text : forceEscaped(rt, text);
}

export function forceEscaped(rt: Runtime, text: Text): Text {
  const result = rewriteMatches(text, /[&<>'"]/g, (char) => ENTITIES[char] as string);
  produce(rt.limits, result.text.length);
  return { ...result, markup: true };
}
