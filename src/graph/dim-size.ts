import type { Dim } from "./value.ts";

/** A dimension as a number: a number, a name, or what `repeatDim`, `splitEvenly`, `foldRows` and concatenation make of names (`3·T`,
 *  `T/2`, `P+T`). `sizeOf`: of a name. @throws RangeError for a name without size */
export function dimSizeBy(dim: Dim, sizeOf: (name: string) => number | undefined): number {
  const part = (term: string): number => {
    const found = sizeOf(term);
    if (found !== undefined) return found;
    if (/^\d+$/.test(term)) return Number(term);
    const parts = (by: string): number[] => term.split(by).map(part);
    if (term.includes("+")) return parts("+").reduce((a, b) => a + b);
    if (term.includes("·")) return parts("·").reduce((a, b) => a * b);
    if (term.includes("/")) return parts("/").reduce((a, b) => a / b);
    throw new RangeError(`no size for the dimension ${term} of ${dim}`);
  };
  return typeof dim === "number" ? dim : part(dim);
}
