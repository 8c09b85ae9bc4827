/** Where in a path a part of a pattern can end, given where it can begin. */
type Step = (path: string, starts: ReadonlySet<number>) => Set<number>;

/** Longest pattern that is read. */
export const GLOB_LIMIT = 1000;

/** A matcher for a glob over paths: `**` any folders, `*` and `?` within one, `[…]` a class, `{a,b}` one of them. The time is at
 *  most pattern × path, whatever the pattern: nothing is tried again. null for a pattern that is too long, or has a class that is
 *  none. */
export function globMatcher(glob: string): ((path: string) => boolean) | null {
  if (glob.length > GLOB_LIMIT) return null;
  const steps: Step[] = [];
  for (const [token] of glob
    .replace(/^\.\//, "")
    .matchAll(/\*\*\/|\*+|\?|\{[^{}]*\}|\[[^\]]+\]|[^*?{[]+|[\s\S]/g)) {
    const step = stepOf(token);
    if (step === null) return null;
    steps.push(step);
  }
  return (path) => {
    let places: Set<number> = new Set([0]);
    for (const step of steps) places = step(path, places);
    return places.has(path.length);
  };
}

function stepOf(token: string): Step | null {
  if (token === "**/") return folders;
  if (token === "*") return withinFolder;
  if (token.startsWith("*")) return anything;
  if (token === "?") return (path, starts) => oneOf(path, starts, (char) => char !== "/");
  if (token.length > 1 && token.startsWith("{")) return words(token.slice(1, -1).split(","));
  if (token.length > 1 && token.startsWith("[")) return classOf(token);
  return words([token]);
}

const folders: Step = (path, starts) => {
  const ends = new Set(starts);
  const first = Math.min(...starts);
  for (let at = path.indexOf("/", first); at >= 0 && starts.size > 0; at = path.indexOf("/", at + 1))
    ends.add(at + 1);
  return ends;
};

const anything: Step = (path, starts) => {
  const ends = new Set<number>();
  if (starts.size > 0) for (let at = Math.min(...starts); at <= path.length; at++) ends.add(at);
  return ends;
};

const withinFolder: Step = (path, starts) => {
  const ends = new Set<number>();
  for (const start of starts)
    for (let at = start; at <= path.length && !ends.has(at); at++) {
      ends.add(at);
      if (path[at] === "/") break;
    }
  return ends;
};

function words(options: readonly string[]): Step {
  return (path, starts) => {
    const ends = new Set<number>();
    for (const start of starts)
      for (const word of options) if (path.startsWith(word, start)) ends.add(start + word.length);
    return ends;
  };
}

function oneOf(path: string, starts: ReadonlySet<number>, accepts: (char: string) => boolean): Set<number> {
  const ends = new Set<number>();
  for (const start of starts) if (start < path.length && accepts(path[start] as string)) ends.add(start + 1);
  return ends;
}

function classOf(token: string): Step | null {
  try {
    const one = new RegExp(`^${token.replaceAll("\\", "\\\\").replace(/^\[!/, "[^")}$`);
    return (path, starts) => oneOf(path, starts, (char) => one.test(char));
  } catch {
    return null; // as [z-a]
  }
}
