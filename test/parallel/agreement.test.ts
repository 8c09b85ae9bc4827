import { describe, expect, test } from "vitest";
import { agreeOnState } from "../../src/train/agreement.ts";
import { checkSameDevice } from "../../src/train/identity.ts";
import type { TrainState } from "../../src/train/step.ts";
import { localGroup } from "./local-group.ts";

/** Members with these parameters agree. */
async function agreed(thetas: readonly (readonly number[])[]) {
  const members = localGroup(thetas.length).map(async (group) => {
    let state: TrainState = {
      theta: Float32Array.from(thetas[group.rank] as number[]),
      moment: Float32Array.of(group.rank),
    };
    const engine = {
      theta: async () => state.theta,
      state: async () => state,
      setState: async (next: TrainState) => {
        state = next;
      },
    };
    const said = await agreeOnState(engine, group).catch((error: Error) => error);
    return { said, state };
  });
  return Promise.all(members);
}

describe("agreeOnState", () => {
  test("parameters that are the same bit by bit stay", async () => {
    for (const { said } of await agreed([
      [1, 2, 3],
      [1, 2, 3],
    ]))
      expect(said).toBeNull();
  });

  test("where they differ by rounding, all go on with the first one's state, and it is said who differed", async () => {
    const off = 1 + 2 ** -22;
    const results = await agreed([
      [1, 2],
      [1, 2],
      [off, 2],
    ]);
    for (const { said, state } of results) {
      expect(said).toBe(
        "parameters of rank 2 were rounded differently (by 1e-7 of the largest at most): those of rank 0 are taken",
      );
      expect(state).toEqual({ theta: Float32Array.of(1, 2), moment: Float32Array.of(0) });
    }
  });

  test("where they differ by more, or are no numbers, that is an error for all", async () => {
    for (const bad of [
      [1, 2.1],
      [Number.NaN, 2],
    ])
      for (const { said } of await agreed([[1, 2], bad]))
        expect(said).toMatchObject({
          message: expect.stringMatching(/^parameters of rank.* have not been trained alike$/),
        });
  });
});

test("members that would compute on different devices are told which, before anything is trained", () => {
  expect(() => checkSameDevice(["cpu", "cpu"])).not.toThrow();
  expect(() => checkSameDevice(["cpu", "webgpu"])).toThrow(
    "the processes would compute on different devices (rank 0: cpu, rank 1: webgpu); --device names one for all",
  );
});
