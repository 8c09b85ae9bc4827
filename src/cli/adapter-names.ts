import { UsageError } from "./errors.ts";

/** An adapter as it was asked for. */
export interface NamedAdapter {
  readonly name: string;
  readonly path: string;
  readonly factor: number;
}

/** Adapters of `[name=]path[=factor]`, several with commas between. Without a name the path is the name. A text that is a path
 *  as it stands (`isPath`) is one, whatever is in it.
 *  @throws UsageError if two have one name */
export async function namedAdapters(
  texts: readonly string[],
  isPath: (text: string) => Promise<boolean>,
): Promise<NamedAdapter[]> {
  const found: NamedAdapter[] = [];
  for (const text of texts)
    for (const item of (await isPath(text)) ? [text] : text.split(",")) found.push(await parse(item, isPath));
  const names = found.map((a) => a.name);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0)
    throw new UsageError(
      `--adapter: ${[...new Set(twice)].join(", ")} is given twice; name=path tells two apart`,
    );
  return found;
}

async function parse(text: string, isPath: (text: string) => Promise<boolean>): Promise<NamedAdapter> {
  if (await isPath(text)) return { name: text, path: text, factor: 1 };
  const [rest, factor] = splitFactor(text);
  const [, name, path] = /^([\w-]+)=(.+)$/.exec(rest) ?? [];
  if (name === undefined || path === undefined || (await isPath(rest)))
    return { name: rest, path: rest, factor };
  return { name, path, factor };
}

/** "runs/a=0.7" → ["runs/a", 0.7]; a factor of 1 where there is none. */
export function splitFactor(text: string): [name: string, factor: number] {
  const at = text.lastIndexOf("=");
  const number = text.slice(at + 1).trim();
  const factor = Number(number);
  if (at <= 0 || number === "" || !Number.isFinite(factor)) return [text.trim(), 1];
  return [text.slice(0, at).trim(), factor];
}
