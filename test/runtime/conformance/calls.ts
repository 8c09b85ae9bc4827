import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { RuntimeError } from "../../../src/errors.ts";
import * as op from "../../../src/graph/ops/index.ts";
import { apply, input } from "../../../src/graph/value.ts";
import type { DType, TensorData } from "../../../src/tensor/dtype.ts";
import type { Tensor } from "../../../src/tensor/tensor.ts";
import { errorOf } from "../../error-of.ts";
import { type Check, load, NEXT, row, x, y } from "./check.ts";

const SAMPLES: Readonly<Record<Exclude<DType, "uint4">, TensorData>> = {
  float32: Float32Array.of(1.5, -2),
  int32: Int32Array.of(7, -(2 ** 31)),
  int64: BigInt64Array.of(2n ** 53n + 1n, -5n),
  bool: Uint8Array.of(1, 0),
  uint8: Uint8Array.of(200, 3),
  uint32: Uint32Array.of(4_000_000_000, 1),
};

/** Runs, sessions and the order of calls. */
export const CALL_CHECKS: readonly Check[] = [
  {
    name: "takes, keeps and gives tensors of every type that it states",
    run: async (subject) => {
      const { backend } = subject;
      for (const dtype of backend.supports.dtypes as (keyof typeof SAMPLES)[]) {
        const tensor: Tensor = { dtype, shape: [2, 1], data: SAMPLES[dtype] };
        const of = apply("Identity", [input("of", dtype, [2, 1])], [2, 1], {}, null);
        const session = await load(subject, { result: of });
        expect(await session.run({ of: tensor })).toEqual({ result: tensor });
        await backend.put({ of: { ...tensor, data: tensor.data.slice() } });
        expect(await session.run({})).toEqual({ result: tensor });
        expect(await backend.get(["of"])).toEqual({ of: tensor });
        await backend.drop(["of"]);
      }
    },
  },
  {
    name: "fetches what is asked for, by default everything, at any size of named dimensions",
    run: async (subject) => {
      const session = await load(subject, { sum: op.add(x, y), difference: op.sub(x, y) });
      const both = await session.run({ x: row(1, 2), y: row(3, 5) });
      expect(both).toEqual({ sum: row(4, 7), difference: row(-2, -3) });
      expect(await session.run({ x: row(1), y: row(1) }, { fetch: ["sum"] })).toEqual({ sum: row(2) });
      expect(await session.run({ x: row(1), y: row(1) }, { fetch: [] })).toEqual({});
    },
  },
  {
    name: "an input that is neither fed nor kept is an error that names it, and no end",
    run: async (subject) => {
      const session = await load(subject, { sum: op.add(x, y) });
      const error = await errorOf(session.run({ x: row(1) }));
      expect(error).toBeInstanceOf(RuntimeError);
      expect(error.message).toContain('input "y" was neither fed nor put');
      await subject.backend.put({ y: row(2) });
      expect(await session.run({ x: row(1) })).toEqual({ sum: row(3) });
      expect(await session.run({ x: row(1), y: row(5) })).toEqual({ sum: row(6) }); // what is fed comes first
    },
  },
  {
    name: "a graph that is wrong is an error, and no end",
    run: async (subject) => {
      const wrong = load(subject, { z: apply("NoSuchOperator", [x], ["n"], {}, null) });
      expect(await errorOf(wrong)).toBeInstanceOf(RuntimeError);
      const session = await load(subject, { sum: op.add(x, x) });
      expect(await session.run({ x: row(1) })).toEqual({ sum: row(2) });
    },
  },
  {
    name: "writes a profile when it ends or the session closes, where it states profiles",
    run: async (subject) => {
      if (!subject.backend.supports.profile) return;
      const written = async (prefix: string): Promise<number> =>
        (await readdir(subject.folder)).filter((n) => n.startsWith(prefix) && n.endsWith(".json")).length;
      const sum = { sum: op.add(x, x) };
      const ended = await load(subject, sum, { profile: join(subject.folder, "ended") });
      const closed = await load(subject, sum, { profile: join(subject.folder, "closed") });
      await ended.run({ x: row(1) });
      await ended.endProfile();
      expect(await written("ended")).toBe(1);
      expect(await ended.run({ x: row(2) })).toEqual({ sum: row(4) });
      await closed.run({ x: row(1) });
      await ended.close();
      await closed.close();
      expect([await written("ended"), await written("closed")]).toEqual([1, 1]);
    },
  },
  {
    name: "calls take effect in their order, also where nobody waits",
    run: async (subject) => {
      const { backend } = subject;
      const session = await load(subject, NEXT);
      const carry = { fetch: [], carry: { "x.next": "x" } };
      const calls = [
        backend.put({ x: row(1) }),
        session.run({}, carry),
        backend.get(["x"]),
        session.run({}, carry),
        backend.resize({ x: [2] }),
        session.run({}, carry),
        backend.get(["x"]),
        backend.drop(["x"]),
      ] as const;
      const results = await Promise.all(calls);
      expect([results[2], results[6]]).toEqual([{ x: row(2) }, { x: row(4, 1) }]);
      expect(await errorOf(backend.get(["x"]))).toBeInstanceOf(RuntimeError);
    },
  },
  {
    name: "a closed session is at its end, others and what is kept are not",
    run: async (subject) => {
      const [one, other] = [await load(subject, NEXT), await load(subject, { sum: op.add(x, x) })];
      await subject.backend.put({ x: row(1) });
      await one.close();
      expect(await errorOf(one.run({}))).toBeInstanceOf(RuntimeError);
      expect(await other.run({})).toEqual({ sum: row(2) });
    },
  },
  {
    name: "a closed backend takes no calls",
    run: async (subject) => {
      const session = await load(subject, NEXT);
      await subject.backend.close();
      for (const call of [session.run({ x: row(1) }), subject.backend.put({ x: row(1) })])
        expect((await errorOf(call)).message).toBe("the runtime is closed");
    },
  },
];
