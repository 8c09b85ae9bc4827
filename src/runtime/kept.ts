import { type FloatTensor, floats, sizeOf, type Tensor } from "../tensor/tensor.ts";
import type { KeptPart } from "./backend.ts";
import { checkRoom, rowTargets } from "./insertion.ts";

/** The tensors that an engine whose memory is the host's keeps between runs, by name: adapters, optimizer state, key-value caches. */
export interface KeptTensors {
  /** A kept tensor, or the stretch of it that a run is about: a view. */
  get(name: string, part?: KeptPart): Tensor | undefined;
  set(name: string, value: Tensor): void;
  /** Takes an output for a kept tensor, or for the stretch of it that a run is about. */
  replace(name: string, value: Tensor, part?: KeptPart): void;
  /** Puts [R, T, h·d] into a kept tensor [R, …h, C, d] (or the stretch of it that a run is about), row r from column at[r] on. @throws Error if it is not there or has no
   *  such columns */
  insert(name: string, added: Tensor, at: readonly number[], part?: KeptPart): void;
  /** As `Backend.copyRow`, for one. */
  copyRow(name: string, from: number, to: number): void;
  /** As `Backend.resize`, for one. */
  resize(name: string, shape: readonly number[]): void;
  drop(name: string): void;
  clear(): void;
}

/** Nothing kept yet. */
export function createKept(): KeptTensors {
  const tensors = new Map<string, Tensor>();
  const set = (name: string, value: Tensor): void => {
    tensors.set(name, value);
  };
  const existing = (name: string, purpose: string): FloatTensor => {
    const kept = tensors.get(name);
    if (!kept) throw new Error(`nothing to ${purpose}: "${name}" was not put`);
    return kept as FloatTensor;
  };
  return {
    set,
    get: (name, part) => {
      const whole = tensors.get(name);
      return whole && part?.names.includes(name) ? stretch(whole as FloatTensor, part) : whole;
    },
    replace: (name, value, part) => {
      const whole = tensors.get(name) as FloatTensor | undefined;
      if (whole && part?.names.includes(name)) stretch(whole, part).data.set(value.data as Float32Array);
      else set(name, value);
    },
    insert: (name, added, at, part) => {
      const whole = existing(name, "insert into");
      insert(part?.names.includes(name) ? stretch(whole, part) : whole, added as FloatTensor, at);
    },
    copyRow: (name, from, to) => {
      const { data, shape } = existing(name, "copy a row of");
      const size = strideOf(shape, 0);
      if (Math.max(from, to) >= (shape[0] as number))
        throw new Error(`no row ${Math.max(from, to)}: "${name}" has ${shape[0]}`);
      data.copyWithin(to * size, from * size, (from + 1) * size);
    },
    resize: (name, shape) => {
      const before = tensors.get(name) as FloatTensor | undefined;
      if (String(before?.shape) !== String(shape)) set(name, resized(before, shape));
    },
    drop: (name) => {
      tensors.delete(name);
    },
    clear: () => {
      tensors.clear();
    },
  };
}

function stretch({ data, shape }: FloatTensor, { from, to }: KeptPart): FloatTensor {
  const size = strideOf(shape, 0);
  return floats(data.subarray(from * size, to * size), [to - from, ...shape.slice(1)]);
}

function insert(kept: FloatTensor, { data: from, shape }: FloatTensor, at: readonly number[]): void {
  checkRoom(kept.shape, shape, at);
  const size = kept.shape.at(-1) as number;
  for (const [i, target] of rowTargets(kept.shape, shape, at).entries())
    kept.data.set(from.subarray(i * size, (i + 1) * size), target * size);
}

/** The tensor in another shape of its rank: what both have room for, the rest 0. */
export function resized(before: FloatTensor | undefined, shape: readonly number[]): FloatTensor {
  const after = floats(new Float32Array(sizeOf(shape)), shape);
  if (before?.shape.length === shape.length) copyOverlap(before, after);
  return after;
}

/** Number of elements from one index of an axis to the next. */
function strideOf(shape: readonly number[], axis: number): number {
  return sizeOf(shape.slice(axis + 1));
}

/** Copies what two row-major arrays of one rank have room for, axis by axis. */
function copyOverlap(
  from: FloatTensor,
  to: FloatTensor,
  axis = 0,
  [source, target]: readonly [number, number] = [0, 0],
): void {
  const count = Math.min(from.shape[axis] as number, to.shape[axis] as number);
  if (axis === to.shape.length - 1) {
    to.data.set(from.data.subarray(source, source + count), target);
    return;
  }
  const [step, stride] = [strideOf(from.shape, axis), strideOf(to.shape, axis)];
  for (let i = 0; i < count; i++) copyOverlap(from, to, axis + 1, [source + i * step, target + i * stride]);
}
