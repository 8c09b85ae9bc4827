import { ALONE, anyOf, type ProcessGroup } from "./group.ts";

/** Work that members of a group do together and stop at the same place. */
export interface JointWork {
  readonly group: ProcessGroup;
  /** Aborted once all have agreed to stop, and by `check` alone where there are several. */
  readonly signal: AbortSignal;
  /** Agrees with the others whether to go on. @throws the reason of the abort, for all members, if any of them is to stop */
  check(): Promise<void>;
}

/** `own`: what tells this member to stop. */
export function jointWork(
  group: ProcessGroup = ALONE,
  own: AbortSignal = new AbortController().signal,
): JointWork {
  if (group.size === 1) return { group, signal: own, check: async () => own.throwIfAborted() };
  const agreed = new AbortController();
  return {
    group,
    signal: agreed.signal,
    check: async () => {
      if (await anyOf(group, own.aborted)) agreed.abort(own.reason);
      agreed.signal.throwIfAborted();
    },
  };
}
