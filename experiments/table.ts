import type { Experiment } from "./experiment.ts";
import { amplification } from "./paper/amplification.ts";
import { combinations } from "./paper/combinations.ts";
import { intrinsicDimension } from "./paper/intrinsic-dimension.ts";
import { latency } from "./paper/latency.ts";
import { lowData } from "./paper/low-data.ts";
import { memory } from "./paper/memory.ts";
import { methods } from "./paper/methods.ts";
import { parameters } from "./paper/parameters.ts";
import { rank } from "./paper/rank.ts";
import { scaling } from "./paper/scaling.ts";
import { subspace } from "./paper/subspace.ts";
import { switching } from "./paper/switching.ts";
import { whichMatrices } from "./paper/which-matrices.ts";

/** Every experiment, in the order of the page. */
export const EXPERIMENTS: readonly Experiment[] = [
  parameters,
  memory,
  latency,
  methods,
  whichMatrices,
  rank,
  subspace,
  amplification,
  intrinsicDimension,
  lowData,
  combinations,
  switching,
  scaling,
];
