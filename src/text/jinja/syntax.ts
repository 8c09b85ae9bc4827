/** An expression of a template. */
export type Expression =
  | { readonly kind: "constant"; readonly value: string | bigint | number | boolean | null }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "attribute"; readonly object: Expression; readonly name: string }
  | { readonly kind: "item"; readonly object: Expression; readonly key: Expression }
  | {
      readonly kind: "slice";
      readonly object: Expression;
      readonly bounds: readonly [Expression | null, Expression | null, Expression | null];
    }
  | { readonly kind: "call"; readonly callee: Expression; readonly args: Arguments }
  | { readonly kind: "filter"; readonly operand: Expression; readonly name: string; readonly args: Arguments }
  | {
      readonly kind: "test";
      readonly operand: Expression;
      readonly name: string;
      readonly args: Arguments;
      readonly isNegated: boolean;
    }
  | { readonly kind: "unary"; readonly operator: "-" | "+" | "not"; readonly operand: Expression }
  | {
      readonly kind: "binary";
      readonly operator: "+" | "-" | "*" | "/" | "//" | "%" | "**";
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: "concat"; readonly parts: readonly Expression[] }
  | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly (readonly [operator: string, operand: Expression])[];
    }
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: "if";
      readonly test: Expression;
      readonly value: Expression;
      readonly otherwise: Expression | null;
    };

/** Arguments of a call. */
export interface Arguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*args` and `**kwargs`. */
  readonly spread: Expression | null;
  readonly namedSpread: Expression | null;
}

/** What is assigned to. */
export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "attribute"; readonly object: string; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

/** A parameter of a macro, with its default. */
export type Parameter = readonly [name: string, fallback: Expression | null];

export type Body = readonly Statement[];

/** A statement of a template; `line` is 1-based. */
export type Statement = { readonly line: number } & (
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "print"; readonly value: Expression }
  | { readonly kind: "if"; readonly test: Expression; readonly body: Body; readonly otherwise: Body }
  | {
      readonly kind: "for";
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | null;
      readonly isRecursive: boolean;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
  | { readonly kind: "set block"; readonly target: Target; readonly filters: Filters; readonly body: Body }
  | {
      readonly kind: "with";
      readonly targets: readonly (readonly [Target, Expression])[];
      readonly body: Body;
    }
  | { readonly kind: "filter block"; readonly filters: Filters; readonly body: Body }
  | {
      readonly kind: "macro";
      readonly name: string;
      readonly parameters: readonly Parameter[];
      readonly body: Body;
    }
  | {
      readonly kind: "call block";
      readonly call: Expression;
      readonly parameters: readonly Parameter[];
      readonly body: Body;
    }
  | { readonly kind: "generation"; readonly body: Body }
  | { readonly kind: "block"; readonly body: Body }
  | { readonly kind: "do"; readonly value: Expression }
  | { readonly kind: "break" | "continue" }
);

/** Filters in a row, applied from the first to the last. */
export type Filters = readonly { readonly name: string; readonly args: Arguments }[];
