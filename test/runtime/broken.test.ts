import { expect, test } from "vitest";
import type { Backend, BackendSession, RunOptions, Tensors } from "../../src/runtime/backend.ts";
import { cpu } from "../../src/runtime/devices/cpu.ts";
import { openOrtNode } from "../../src/runtime/ort-node.ts";
import { type Check, holds } from "./conformance/check.ts";
import { CHECKS } from "./conformance/checks.ts";

/** A backend whose runs are given other options. */
function running(change: (options: RunOptions) => RunOptions): (backend: Backend) => Backend {
  return changing(
    (run) =>
      (feeds, options = {}) =>
        run(feeds, change(options)),
  );
}

function changing(change: (run: BackendSession["run"]) => BackendSession["run"]): (b: Backend) => Backend {
  return (backend) => ({
    ...backend,
    load: async (request) => {
      const session = await backend.load(request);
      return { ...session, run: change(session.run) };
    },
  });
}

/** Results that stay the backend's: what a run gives comes again, whatever it is then. */
function sharing(backend: Backend): Backend {
  const given = new Map<string, Tensors[string]>();
  return changing((run) => async (feeds, options) => {
    const results = await run(feeds, options);
    return Object.fromEntries(
      Object.entries(results).map(([name, tensor]) => {
        const first = given.get(name) ?? tensor;
        if (first.data.length === tensor.data.length)
          (first.data as Float32Array).set(tensor.data as Float32Array);
        given.set(name, first);
        return [name, first];
      }),
    );
  })(backend);
}

/** What a run computes, `factor(n)` times as large in the n-th run. */
function scaled(factor: (run: number) => number): (backend: Backend) => Backend {
  let count = 0;
  return changing((run) => async (feeds, options) => {
    const results = await run(feeds, options);
    const times = factor(count++);
    for (const { data } of Object.values(results))
      (data as Float32Array).set((data as Float32Array).map((v) => times * v));
    return results;
  });
}

/** Memory that two tensors share moves but once. */
function movingEach(backend: Backend): Backend {
  return {
    ...backend,
    put: async (tensors) => {
      for (const { data } of Object.values(tensors))
        structuredClone(data, { transfer: [data.buffer as ArrayBuffer] });
      await backend.put(tensors);
    },
  };
}

const slightly = scaled(() => 1.001);
const NOTHING: BackendSession = { run: async () => ({}), endProfile: async () => {}, close: async () => {} };

/** Ways to be wrong, and the check that sees it. */
const BROKEN: readonly (readonly [check: RegExp, what: string, (backend: Backend) => Backend])[] = [
  [/every type/, "keeps nothing", (b) => ({ ...b, put: async () => {} })],
  [/fetches what is asked/, "fetches everything", running(({ fetch: _, ...rest }) => rest)],
  [
    /neither fed nor kept/,
    "takes nothing for an input",
    changing(
      (run) =>
        (...of) =>
          run(...of).catch(() => ({})),
    ),
  ],
  [
    /a graph that is wrong/,
    "takes any graph",
    (b) => ({ ...b, load: (one) => b.load(one).catch(() => NOTHING) }),
  ],
  [/given away/, "moves the memory of each tensor", movingEach],
  [/gives copies/, "forgets nothing", (b) => ({ ...b, drop: async () => {} })],
  [/carries outputs/, "carries nothing", running(({ carry: _, ...rest }) => rest)],
  [/carries only/, "always carries", running(({ carryIf: _, ...rest }) => rest)],
  [/results are the caller's/, "hands out its own results", sharing],
  [/writes over/, "loses what is written over", running(({ inPlace: _, ...rest }) => rest)],
  [/stretch/, "takes the whole", running(({ part: _, ...rest }) => rest)],
  [/copies a row/, "copies none", (b) => ({ ...b, copyRow: async () => {} })],
  [/inserts columns/, "inserts at the start", running((o) => ({ ...o, at: o.at?.map(() => 0) ?? [] }))],
  [/another shape/, "keeps the shape", (b) => ({ ...b, resize: async () => {} })],
  [/beside the graph/, "multiplies wrongly", slightly],
  [/blocks of 4 bits/, "multiplies wrongly", slightly],
  [/attends over/, "attends wrongly", slightly],
  [/gradient of a norm/, "has wrong gradients", slightly],
  [/same bits/, "varies", scaled((run) => 1 + 1e-6 * run)],
  [/writes a profile/, "writes none", (b) => ({ ...b, load: (one) => b.load({ ...one, profile: null }) })],
  [
    /in their order/,
    "puts late",
    (b) => ({ ...b, put: (tensors) => new Promise((done) => setTimeout(() => done(b.put(tensors)), 5)) }),
  ],
  [
    /closed session/,
    "ends no session",
    (b) => ({ ...b, load: async (one) => ({ ...(await b.load(one)), close: async () => {} }) }),
  ],
  [/closed backend/, "does not end", (b) => ({ ...b, close: async () => {} })],
];

test.each(BROKEN)("the check %s fails for a backend that %s", async (name, _what, breaking) => {
  const check = CHECKS.find((one) => name.test(one.name)) as Check;
  await expect(holds(check, () => breaking(openOrtNode(cpu, 1)))).rejects.toThrow();
});

test("every check can fail", () => {
  expect(CHECKS.filter(({ name }) => !BROKEN.some(([of]) => of.test(name)))).toEqual([]);
});
