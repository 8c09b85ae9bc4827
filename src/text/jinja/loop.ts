import { TemplateError } from "./errors.ts";
import { type CallArguments, Callable, equals, List, orElse, Undefined, type Value } from "./values.ts";

/** `loop` inside a `for`. Called, it goes through other items with the same body (a recursive loop). */
export class Loop extends Callable {
  readonly items: readonly Value[];
  readonly depth: number;
  /** Place of the current item. */
  index = 0;
  private last: Value | null = null;

  constructor(items: readonly Value[], depth: number, recurse: ((items: Value) => Value) | null) {
    super("loop", ({ positional }) => {
      if (recurse === null)
        throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
      return recurse(positional[0] ?? null);
    });
    this.items = items;
    this.depth = depth;
  }

  /** An attribute of `loop`; undefined where there is none of that name. */
  lookup(name: string): Value | undefined {
    const { index, items } = this;
    const at = (i: number, what: string): Value =>
      orElse(items[i], new Undefined(`there is no ${what} item`));
    switch (name) {
      case "index":
        return BigInt(index + 1);
      case "index0":
        return BigInt(index);
      case "revindex":
        return BigInt(items.length - index);
      case "revindex0":
        return BigInt(items.length - index - 1);
      case "first":
        return index === 0;
      case "last":
        return index === items.length - 1;
      case "length":
        return BigInt(items.length);
      case "previtem":
        return index === 0 ? new Undefined("there is no previous item") : at(index - 1, "previous");
      case "nextitem":
        return at(index + 1, "next");
      case "depth":
        return BigInt(this.depth);
      case "depth0":
        return BigInt(this.depth - 1);
      case "cycle":
        return new Callable("cycle", ({ positional }) => this.cycle(positional));
      case "changed":
        return new Callable("changed", (args) => this.changed(args));
      default:
        return undefined;
    }
  }

  private cycle(values: readonly Value[]): Value {
    if (values.length === 0) throw new TemplateError("no items for cycling given");
    return values[this.index % values.length] as Value;
  }

  private changed({ positional }: CallArguments): boolean {
    const now = new List(positional, true);
    const isSame = this.last !== null && equals(this.last, now);
    this.last = now;
    return !isSame;
  }
}
