import { FormatError, UnsupportedError } from "../errors.ts";
import { LABELS_FILE, labelsText } from "../formats/peft/files.ts";
import { TEMPLATE_ARGS_FILE, templateArgsText } from "../formats/peft/template-args.ts";
import { publicModelName } from "../hub/known-names.ts";
import { utf8Of } from "../io/bytes.ts";
import type { Storage } from "../io/storage/storage.ts";
import { methodFiles } from "../peft/files/parts.ts";
import { baseIdentityOf } from "../peft/model-shape.ts";
import type { ExactMatchChange, SamplesEvent } from "../train/events.ts";
import type { RunPlan } from "../train/plan.ts";
import type { RunStore } from "../train/run-store.ts";
import type { TrainState } from "../train/step.ts";

/** Where a run in a page leaves what it makes: states in memory, the adapter in a storage. */
export interface PageRunStore extends RunStore {
  /** Takes note of answers, for what the end says of them. */
  note(event: SamplesEvent): void;
}

/** An empty store. */
export function pageRunStore(output: Storage): PageRunStore {
  const states = new Map<number, TrainState>();
  const scores = new Map<string, SamplesEvent["exactMatch"]>();
  let [adapterBytes, stateBytes] = [0, 0];
  return {
    resumeHint: null,
    note: ({ when, exactMatch }) => {
      if (exactMatch) scores.set(when, exactMatch);
    },
    saveCheckpoint: async ({ progression, state }) => {
      states.set(progression.step, state);
      stateBytes = Object.values(state).reduce((n, { byteLength }) => n + byteLength, 0);
      return `memory/step-${progression.step}`;
    },
    prune: async ({ step, keep, bestStep }) => {
      const newest = [...states.keys()].filter((s) => s <= step).sort((a, b) => b - a);
      const kept = new Set([...newest.slice(0, keep), bestStep]);
      for (const s of states.keys()) if (!kept.has(s)) states.delete(s);
    },
    loadState: async (step) => {
      const state = states.get(step);
      if (state === undefined) throw new FormatError("memory", `no state of step ${step}`);
      return state;
    },
    startProfiling: () => {
      throw new UnsupportedError("a browser writes no profile");
    },
    finish: async ({ plan, theta, outcome }) => {
      for (const [name, bytes] of await adapterFiles(plan, theta)) {
        await output.write(name, bytes);
        adapterBytes += bytes.length;
      }
      const exactMatch = change(scores);
      return {
        type: "done",
        ...outcome,
        ...(exactMatch && { exactMatch }),
        adapterPath: output.path,
        measured: { peakMemoryBytes: 0, adapterBytes, checkpointBytes: stateBytes },
        reportPath: "",
      };
    },
  };
}

function change(scores: ReadonlyMap<string, SamplesEvent["exactMatch"]>): ExactMatchChange | null {
  const [before, after] = [scores.get("before"), scores.get("after")];
  return before && after ? { before: before.share, after: after.share, prompts: after.prompts } : null;
}

/** The files of an adapter, as in a run's folder. */
async function adapterFiles({ model, base }: RunPlan, theta: Float32Array): Promise<Map<string, Uint8Array>> {
  const name = publicModelName(base.source.name);
  const files = await methodFiles(model.methods, theta, name, baseIdentityOf(base));
  if (base.config.encoder) files.set(LABELS_FILE, utf8Of(labelsText(base.config.encoder.classifier)));
  const text = templateArgsText(base.templateVariables.args);
  if (text !== null) files.set(TEMPLATE_ARGS_FILE, utf8Of(text));
  return files;
}
