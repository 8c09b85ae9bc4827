import { activeAdapter } from "./active-adapter.mjs";
import { baseBits } from "./base-bits.mjs";
import { compute } from "./compute.mjs";
import { decode } from "./decode.mjs";
import { dense } from "./dense.mjs";
import { growth } from "./growth.mjs";
import { recompute } from "./recompute.mjs";
import { serve } from "./serve.mjs";
import { sft } from "./sft.mjs";
import { start } from "./start.mjs";

/** Every row of the bench, one line each: { name, title, about, measure(context) → { lines, runs } }. */
export const ROWS = [dense, sft, recompute, baseBits, compute, start, decode, activeAdapter, serve, growth];
