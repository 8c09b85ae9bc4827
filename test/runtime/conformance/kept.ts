import { expect } from "vitest";
import { RuntimeError } from "../../../src/errors.ts";
import * as op from "../../../src/graph/ops/index.ts";
import { apply, input } from "../../../src/graph/value.ts";
import { floats, type Tensor } from "../../../src/tensor/tensor.ts";
import { errorOf } from "../../error-of.ts";
import { type Check, kept, load, NEXT, numbers, row, x, y } from "./check.ts";

/** What becomes of kept tensors. */
export const KEPT_CHECKS: readonly Check[] = [
  {
    name: "gives copies of what is kept; what is dropped or was never put is an error",
    run: async (subject) => {
      const { backend } = subject;
      await backend.put({ a: row(1, 2), b: row(3) });
      const { a } = await backend.get(["a", "b"]);
      ((a as Tensor).data as Float32Array).fill(0);
      expect(await kept(subject, "a")).toEqual(row(1, 2));
      await backend.drop(["a", "c"]);
      const error = await errorOf(backend.get(["a", "b", "c"]));
      expect(error).toBeInstanceOf(RuntimeError);
      expect(error.message).toContain("a, c");
      expect(error.message).not.toContain("b");
    },
  },
  {
    name: "keeps what was given away, two tensors of one memory too",
    run: async (subject) => {
      const both = new Float32Array([1, 2, 3, 4]);
      const tensors = { a: floats(both.subarray(0, 2), [2]), b: floats(both.subarray(2), [2]) };
      await subject.backend.put(tensors, { isGivenAway: true });
      expect(await kept(subject, "a")).toEqual(row(1, 2));
      expect(await kept(subject, "b")).toEqual(row(3, 4));
    },
  },
  {
    name: "carries outputs to inputs, of other sessions too",
    run: async (subject) => {
      const session = await load(subject, NEXT);
      const double = await load(subject, { twice: op.add(x, x) });
      await subject.backend.put({ x: row(0, 5) });
      for (let i = 0; i < 3; i++)
        expect(await session.run({}, { fetch: [], carry: { "x.next": "x" } })).toEqual({});
      expect(await kept(subject, "x")).toEqual(row(3, 8));
      expect(await double.run({})).toEqual({ twice: row(6, 16) });
      await session.run({ x: row(1, 1) }, { fetch: [], carry: { "x.next": "x" } }); // also where the input was fed
      expect(await kept(subject, "x")).toEqual(row(2, 2));
    },
  },
  {
    name: "carries only where the output that decides is true, fetched or not",
    run: async (subject) => {
      const session = await load(subject, NEXT);
      await subject.backend.put({ x: row(1, 1) });
      const options = { carry: { "x.next": "x" }, carryIf: "isLarge" };
      const said = await session.run({}, { ...options, fetch: ["isLarge"] });
      expect(numbers(said.isLarge)).toEqual([0]);
      await session.run({}, { ...options, fetch: [] });
      expect(await kept(subject, "x")).toEqual(row(1, 1));
      await subject.backend.put({ x: row(2, 1) });
      await session.run({}, { ...options, fetch: [] });
      expect(await kept(subject, "x")).toEqual(row(3, 2));
    },
  },
  {
    name: "results are the caller's: neither changes the other's",
    run: async (subject) => {
      const session = await load(subject, { "y.next": op.add(x, y) });
      await subject.backend.put({ y: row(1, 1) });
      const carried = await session.run({ x: row(1, 1) }, { carry: { "y.next": "y" } });
      await session.run({ x: row(1, 1) }, { fetch: [], inPlace: { "y.next": "y" } });
      const written = await session.run({ x: row(1, 1) }, { inPlace: { "y.next": "y" } });
      expect([carried, written]).toEqual([{ "y.next": row(2, 2) }, { "y.next": row(4, 4) }]);
      for (const { data } of Object.values(written)) (data as Float32Array).fill(0);
      expect(await kept(subject, "y")).toEqual(row(4, 4));
    },
  },
  {
    name: "writes over a kept tensor",
    run: async (subject) => {
      const session = await load(subject, { "y.next": op.add(op.mul(x, x), y) });
      const run = () => session.run({ x: row(1, 2) }, { fetch: [], inPlace: { "y.next": "y" } });
      const error = await errorOf(run());
      expect(error).toBeInstanceOf(RuntimeError);
      await subject.backend.put({ y: row(0, 0.5), z: row(9) });
      for (let i = 0; i < 3; i++) await run();
      expect(await kept(subject, "y")).toEqual(row(3, 12.5));
      expect(await kept(subject, "z")).toEqual(row(9));
    },
  },
  {
    name: "takes a stretch of kept vectors, and carries into that alone",
    run: async (subject) => {
      const session = await load(subject, { "x.next": op.add(x, y), sum: op.sumAll(op.add(x, y)) });
      await subject.backend.put({ x: row(1, 2, 3, 4, 5), y: row(10, 20, 30, 40, 50) });
      const options = { carry: { "x.next": "x" }, part: { names: ["x", "y"], from: 1, to: 3 } };
      const { sum } = await session.run({}, { ...options, fetch: ["sum"] });
      expect(numbers(sum)).toEqual([55]);
      expect(await kept(subject, "x")).toEqual(row(1, 22, 33, 4, 5));
      expect(await kept(subject, "y")).toEqual(row(10, 20, 30, 40, 50));
      const apart = { names: ["x"], from: 3, to: 5 }; // y is fed
      await session.run({ y: row(1, 1) }, { fetch: [], carry: { "x.next": "x" }, part: apart });
      expect(await kept(subject, "x")).toEqual(row(1, 22, 33, 5, 6));
    },
  },
  {
    name: "inserts columns of each row where it says, and nothing beyond the room",
    run: async (subject) => {
      const added = input("added", "float32", ["R", "T", 4]);
      const session = await load(subject, { same: apply("Identity", [added], ["R", "T", 4], {}, null) });
      // [R, T, h·d] = [2, 2, 2·2] into [R, h, C, d] = [2, 2, 4, 2]
      const data = Float32Array.from({ length: 16 }, (_, i) => i + 1);
      const run = (at: number[]) =>
        session.run({ added: floats(data, [2, 2, 4]) }, { fetch: [], insert: { same: "cache" }, at });
      expect(await errorOf(run([0, 0]))).toBeInstanceOf(RuntimeError);
      await subject.backend.resize({ cache: [2, 2, 4, 2] });
      expect(await errorOf(run([0, 3]))).toBeInstanceOf(RuntimeError);
      await run([1, 2]);
      const first = [0, 0, 1, 2, 5, 6, 0, 0, /**/ 0, 0, 3, 4, 7, 8, 0, 0];
      const second = [0, 0, 0, 0, 9, 10, 13, 14, /**/ 0, 0, 0, 0, 11, 12, 15, 16];
      expect(await kept(subject, "cache")).toEqual(
        floats(Float32Array.from([...first, ...second]), [2, 2, 4, 2]),
      );
    },
  },
  {
    name: "copies a row over another",
    run: async (subject) => {
      const { backend } = subject;
      await backend.put({ t: floats(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]) });
      await backend.copyRow(["t"], 2, 0);
      expect(await kept(subject, "t")).toEqual(floats(Float32Array.of(5, 6, 3, 4, 5, 6), [3, 2]));
      expect(await errorOf(backend.copyRow(["t"], 3, 0))).toBeInstanceOf(RuntimeError);
      expect(await errorOf(backend.copyRow(["none"], 0, 0))).toBeInstanceOf(RuntimeError);
    },
  },
  {
    name: "gives kept tensors another shape",
    run: async (subject) => {
      const { backend } = subject;
      await backend.put({ t: floats(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]) });
      await backend.resize({ t: [3, 2], made: [2] });
      expect(await kept(subject, "t")).toEqual(floats(Float32Array.of(1, 2, 4, 5, 0, 0), [3, 2]));
      expect(await kept(subject, "made")).toEqual(row(0, 0));
      await backend.resize({ t: [1, 1, 2] });
      expect(await kept(subject, "t")).toEqual(floats(new Float32Array(2), [1, 1, 2]));
    },
  },
];
