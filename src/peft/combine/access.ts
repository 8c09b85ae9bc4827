import type { OpenBaseOptions } from "../../models/base-model.ts";

/** How to find the adapters, and the base that they are for. */
export interface CombineAccess extends OpenBaseOptions {
  /** The base model: what the result names, whatever the adapters name; default: the one that they all name. Of adapters in
   *  formats other than PEFT's the shape of the base must be known, of which only the configuration is read. */
  readonly model?: string;
}
