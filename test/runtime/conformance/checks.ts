import { CALL_CHECKS } from "./calls.ts";
import type { Check } from "./check.ts";
import { GRAPH_CHECKS } from "./graphs.ts";
import { KEPT_CHECKS } from "./kept.ts";

/** What every backend must do. */
export const CHECKS: readonly Check[] = [...CALL_CHECKS, ...KEPT_CHECKS, ...GRAPH_CHECKS];
