import { evaluate } from "./evaluate.ts";
import { fail } from "./limits.ts";
import type { Body, Signature } from "./nodes.ts";
import { innerScope, type Scope } from "./scope.ts";
import { deeper, type Runtime } from "./state.ts";
import { type Text, textOf } from "./text.ts";
import { type Args, bool, dict, type Obj, tuple, undef, type Value } from "./values.ts";

interface MacroNode {
  readonly signature: Signature;
  readonly body: Body;
  readonly depth: number;
}

/** A macro, or the body of a call block, as a value.
 *  @param render Runs the body in a scope. */
export function makeMacro(
  rt: Runtime,
  name: string,
  { signature, depth }: MacroNode,
  render: (scope: Scope) => Text,
  scope: Scope,
): Obj {
  const fields: Readonly<Record<string, () => Value>> = {
    name: () => textOf(name),
    arguments: () => tuple(signature.params.map((p) => textOf(p))),
    catch_kwargs: () => bool(signature.uses.has("kwargs")),
    catch_varargs: () => bool(signature.uses.has("varargs")),
    caller: () => bool(signature.uses.has("caller")),
  };
  return {
    kind: "object",
    name: "Macro",
    get: (field) => (Object.hasOwn(fields, field) ? fields[field]?.() : undefined),
    call: (args) =>
      deeper(rt, depth, () => {
        const inner = innerScope(scope);
        bindArguments(rt, name, signature, args, inner);
        return render(inner);
      }),
  };
}

/** jinja2's Macro.__call__: positions first, then names, then defaults; the rest where the body names it. */
function bindArguments(rt: Runtime, name: string, signature: Signature, args: Args, scope: Scope): void {
  const { params, defaults, uses } = signature;
  const named = new Map(args.named);
  const firstDefault = params.length - defaults.length;
  params.forEach((param, i) => {
    let value = args.values[i];
    if (value === undefined && args.values.length < params.length) {
      value = named.get(param);
      named.delete(param);
    }
    const absent = defaults[i - firstDefault];
    value ??=
      absent === undefined ? undef(`parameter '${param}' was not provided`) : evaluate(rt, absent, scope);
    scope.variables.set(param, value);
  });
  if (uses.has("caller") && !params.includes("caller")) {
    scope.variables.set("caller", named.get("caller") ?? undef("No caller defined"));
    named.delete("caller");
  }
  if (uses.has("kwargs"))
    scope.variables.set("kwargs", dict([...named].map(([key, value]) => [textOf(key), value])));
  else if (named.size > 0) fail(`macro '${name}' takes no keyword argument '${[...named.keys()][0]}'`);
  if (uses.has("varargs")) scope.variables.set("varargs", tuple(args.values.slice(params.length)));
  else if (args.values.length > params.length)
    fail(`macro '${name}' takes not more than ${params.length} argument(s)`);
}
