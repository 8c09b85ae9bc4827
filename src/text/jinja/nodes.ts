import type { Value } from "./values.ts";

/** What every node has: its line, and how deep nodes nest below it. */
interface Place {
  readonly line: number;
  readonly depth: number;
}

export interface ArgsNode {
  readonly values: readonly Expr[];
  readonly named: readonly (readonly [string, Expr])[];
  /** `*rest` and `**restNamed`. */
  readonly rest: Expr | null;
  readonly restNamed: Expr | null;
}

export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type CompareOperator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export type Expr = Place &
  (
    | { readonly type: "const"; readonly value: Value }
    | { readonly type: "name"; readonly name: string }
    | { readonly type: "attribute"; readonly object: Expr; readonly name: string }
    | { readonly type: "item"; readonly object: Expr; readonly index: Expr }
    | { readonly type: "slice"; readonly bounds: readonly [Expr | null, Expr | null, Expr | null] }
    | { readonly type: "call"; readonly callee: Expr; readonly args: ArgsNode }
    | { readonly type: "filter"; readonly input: Expr | null; readonly name: string; readonly args: ArgsNode }
    | { readonly type: "test"; readonly input: Expr; readonly name: string; readonly args: ArgsNode }
    | { readonly type: "list" | "tuple"; readonly items: readonly Expr[] }
    | { readonly type: "dict"; readonly pairs: readonly (readonly [Expr, Expr])[] }
    | { readonly type: "not" | "negative" | "positive"; readonly operand: Expr }
    | {
        readonly type: "binary";
        readonly operator: BinaryOperator;
        readonly left: Expr;
        readonly right: Expr;
      }
    | { readonly type: "concat"; readonly parts: readonly Expr[] }
    | {
        readonly type: "compare";
        readonly first: Expr;
        readonly rest: readonly (readonly [CompareOperator, Expr])[];
      }
    | { readonly type: "and" | "or"; readonly left: Expr; readonly right: Expr }
    | {
        readonly type: "condition";
        readonly test: Expr;
        readonly then: Expr;
        readonly otherwise: Expr | null;
      }
  );

export type Target =
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "field"; readonly object: string; readonly name: string }
  | { readonly type: "tuple"; readonly items: readonly Target[] };

export interface Signature {
  readonly params: readonly string[];
  /** Defaults of the last parameters. */
  readonly defaults: readonly Expr[];
  /** Which of `caller`, `kwargs` and `varargs` the body names. */
  readonly uses: ReadonlySet<string>;
}

export type Stmt = Place &
  (
    | { readonly type: "data"; readonly value: Value }
    | { readonly type: "output"; readonly value: Expr }
    | { readonly type: "set"; readonly target: Target; readonly value: Expr }
    | { readonly type: "capture"; readonly target: Target; readonly filter: Expr | null; readonly body: Body }
    | {
        readonly type: "for";
        readonly target: Target;
        readonly items: Expr;
        readonly test: Expr | null;
        readonly recursive: boolean;
        readonly body: Body;
        readonly otherwise: Body;
      }
    | {
        readonly type: "if";
        readonly branches: readonly (readonly [Expr, Body])[];
        readonly otherwise: Body;
      }
    | { readonly type: "with"; readonly pairs: readonly (readonly [Target, Expr])[]; readonly body: Body }
    | { readonly type: "macro"; readonly name: string; readonly signature: Signature; readonly body: Body }
    | { readonly type: "call block"; readonly signature: Signature; readonly call: Expr; readonly body: Body }
    | { readonly type: "filter block"; readonly filter: Expr; readonly body: Body }
    | { readonly type: "generation"; readonly body: Body }
    | { readonly type: "block"; readonly scoped: boolean; readonly body: Body }
    | { readonly type: "break" | "continue" }
  );

export interface Body {
  readonly statements: readonly Stmt[];
  readonly depth: number;
}
