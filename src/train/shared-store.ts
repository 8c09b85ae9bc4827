import { LowrankError } from "../errors.ts";
import { fromFirst, type ProcessGroup } from "../parallel/group.ts";
import type { RunStore } from "./run-store.ts";
import type { TrainState } from "./step.ts";

/** A store that member 0 alone reads and writes; all get what it says, when it is done. */
export function sharedStore(store: RunStore, group: ProcessGroup): RunStore {
  if (group.size === 1) return store;
  return {
    resumeHint: store.resumeHint,
    saveCheckpoint: (content, plan) => fromFirst(group, () => store.saveCheckpoint(content, plan)),
    prune: (options) => fromFirst(group, () => store.prune(options)),
    loadState: async (step) => {
      const read = await fromFirst(group, () => store.loadState(step).catch(messageOf));
      if (typeof read === "string") throw new LowrankError("checkpoint", read);
      return read;
    },
    startProfiling: store.startProfiling,
    finish: (run) => fromFirst(group, () => store.finish(run)),
  };
}

/** Errors that all are told of; others end the member. */
function messageOf(error: unknown): TrainState | string {
  if (!(error instanceof LowrankError)) throw error;
  return error.message;
}
