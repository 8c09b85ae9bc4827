import type { Filter } from "./filter.ts";
import { fail } from "./limits.ts";
import { LIST_FILTERS } from "./list-filters.ts";
import { NUMBER_FILTERS } from "./number-filters.ts";
import type { Runtime } from "./state.ts";
import { FILTER_NAMES } from "./tests.ts";
import { TEXT_FILTERS } from "./text-filters.ts";
import type { Args, Value } from "./values.ts";

/** All filters of jinja2 but `random` (a rendering is to be the same each time), `pprint`, `striptags`, `urlize`,
 *  `wordwrap` and `xmlattr`, which no known chat template uses. */
const FILTERS: Readonly<Record<string, Filter>> = { ...TEXT_FILTERS, ...LIST_FILTERS, ...NUMBER_FILTERS };
const REFUSED = ["random", "pprint", "striptags", "urlize", "wordwrap", "xmlattr"];

for (const name of [...Object.keys(FILTERS), ...REFUSED]) FILTER_NAMES.add(name);

export function runFilter(rt: Runtime, name: string, value: Value, args: Args): Value {
  const filter = FILTERS[name];
  if (filter !== undefined && Object.hasOwn(FILTERS, name)) return filter(rt, value, args);
  return fail(
    REFUSED.includes(name) ? `the filter '${name}' is not supported` : `No filter named '${name}'.`,
  );
}
