import type * as ort from "onnxruntime-node";
import { type FloatTensor, sizeOf, type Tensor } from "../tensor/tensor.ts";
import type { KeptPart } from "./backend.ts";
import type { DeviceMoves } from "./device-moves.ts";
import { resized } from "./kept.ts";

/** A stretch of the first axis, [from, to), that is newer than its tensor. */
interface Piece {
  readonly from: number;
  readonly to: number;
  readonly tensor: ort.Tensor;
}

/** A tensor in the device's memory. */
interface OnDevice {
  readonly tensor: ort.Tensor;
  readonly pieces: readonly Piece[];
}

/** The host's until a run takes it, the device's from then on. */
type Held = { readonly host: Tensor } | OnDevice;

/** A tensor for a run; `isOwn`: made for it, and disposed after it. */
export interface Taken {
  readonly tensor: ort.Tensor;
  readonly isOwn: boolean;
}

/** Tensors kept in a device's memory between runs, by name. What a run replaces is disposed. Nothing is written over, so a stretch
 *  that a run replaces waits beside its tensor until the rest is replaced too, or somebody takes the whole. */
export interface DeviceKept {
  shapeOf(name: string): readonly number[] | undefined;
  put(name: string, tensor: Tensor): void;
  /** For a run: the tensor, or the stretch of it that the run is about. What is none of the device's comes as the host's. */
  take(name: string, part?: KeptPart): Promise<Taken | Tensor | undefined>;
  /** Takes a tensor of the device's memory for what is kept, or for the stretch of it that a run is about. */
  replace(name: string, value: ort.Tensor, part?: KeptPart): Promise<void>;
  /** The whole in the device's memory. */
  whole(name: string): Promise<ort.Tensor>;
  resize(name: string, shape: readonly number[]): Promise<void>;
  get(name: string): Promise<Tensor | undefined>;
  drop(name: string): void;
  clear(): void;
}

/** Scalars, empty tensors and whole numbers stay the host's, and are fed to each run. */
export function isForDevice({ dtype, shape }: Tensor): boolean {
  return dtype === "float32" && shape.length > 0 && sizeOf(shape) > 0;
}

function release(held: Held | undefined): void {
  if (!held || "host" in held) return;
  held.tensor.dispose();
  for (const { tensor } of held.pieces) tensor.dispose();
}

function meets(a: Pick<Piece, "from" | "to">, b: Pick<Piece, "from" | "to">): boolean {
  return a.from < b.to && b.from < a.to;
}

/** Pieces, and what lies between them of the old tensor, as one. */
async function settled({ tensor: old, pieces }: OnDevice, moves: DeviceMoves): Promise<ort.Tensor> {
  const parts: ort.Tensor[] = [];
  const gaps: ort.Tensor[] = [];
  let at = 0;
  const fillTo = async (to: number): Promise<void> => {
    if (at >= to) return;
    gaps.push(await moves.part(old, at, to));
    parts.push(gaps.at(-1) as ort.Tensor);
  };
  for (const { from, to, tensor } of pieces.toSorted((a, b) => a.from - b.from)) {
    await fillTo(from);
    parts.push(tensor);
    at = to;
  }
  await fillTo(old.dims[0] as number);
  const joined = await moves.joined(parts);
  for (const gap of gaps) gap.dispose();
  return joined;
}

/** Nothing kept yet. */
export function createDeviceKept(moves: DeviceMoves): DeviceKept {
  const all = new Map<string, Held>();
  const set = (name: string, held: Held): void => {
    const before = all.get(name);
    all.set(name, held);
    release(before);
  };
  /** In the device's memory, pieces as they are. */
  const there = async (name: string): Promise<OnDevice> => {
    const held = all.get(name);
    if (!held) throw new Error(`"${name}" was not put`);
    if (!("host" in held)) return held;
    const brought = { tensor: await moves.toDevice(held.host), pieces: [] };
    set(name, brought);
    return brought;
  };
  const whole = async (name: string): Promise<ort.Tensor> => {
    const held = await there(name);
    if (held.pieces.length === 0) return held.tensor;
    const tensor = await settled(held, moves);
    set(name, { tensor, pieces: [] });
    return tensor;
  };
  const takePart = async (name: string, wanted: KeptPart): Promise<Taken> => {
    const { tensor: old, pieces } = await there(name);
    const piece = pieces.find(({ from, to }) => from === wanted.from && to === wanted.to);
    if (piece) return { tensor: piece.tensor, isOwn: false };
    const source = pieces.some((p) => meets(p, wanted)) ? await whole(name) : old;
    if (wanted.from === 0 && wanted.to === source.dims[0]) return { tensor: source, isOwn: false };
    return { tensor: await moves.part(source, wanted.from, wanted.to), isOwn: true };
  };
  const addPiece = async (name: string, piece: Piece): Promise<void> => {
    const isSame = (p: Piece): boolean => p.from === piece.from && p.to === piece.to;
    const met = (await there(name)).pieces.filter((p) => meets(p, piece));
    if (met.some((p) => !isSame(p))) await whole(name);
    const { tensor, pieces } = await there(name);
    const others = pieces.filter((p) => !isSame(p));
    for (const p of pieces) if (isSame(p)) p.tensor.dispose();
    all.set(name, { tensor, pieces: [...others, piece] });
    const covered = [...others, piece].reduce((n, p) => n + p.to - p.from, 0);
    if (covered === tensor.dims[0]) await whole(name);
  };
  const shapeOf = (name: string): readonly number[] | undefined => {
    const held = all.get(name);
    return held && ("host" in held ? held.host.shape : held.tensor.dims);
  };

  return {
    shapeOf,
    put: (name, tensor) => set(name, { host: tensor }),
    take: async (name, part) => {
      const held = all.get(name);
      if (!held) return undefined;
      if ("host" in held && !isForDevice(held.host)) return held.host;
      return part?.names.includes(name) ? takePart(name, part) : { tensor: await whole(name), isOwn: false };
    },
    replace: async (name, tensor, part) => {
      const size = shapeOf(name)?.[0];
      const { from, to } = part?.names.includes(name) ? part : { from: 0, to: size };
      if (to === undefined || size === undefined || (from === 0 && to === size))
        set(name, { tensor, pieces: [] });
      else await addPiece(name, { from, to, tensor });
    },
    whole,
    resize: async (name, shape) => {
      const held = all.get(name);
      const before = shapeOf(name);
      if (String(before) === String(shape)) return;
      if (held && !("host" in held) && before?.length === shape.length && sizeOf(shape) > 0)
        set(name, { tensor: await moves.fitted(await whole(name), shape), pieces: [] });
      else
        set(name, { host: resized(held && "host" in held ? (held.host as FloatTensor) : undefined, shape) });
    },
    get: async (name) => {
      const held = all.get(name);
      if (held && "host" in held) return { ...held.host, data: held.host.data.slice() };
      return held && moves.toHost(await whole(name));
    },
    drop: (name) => {
      release(all.get(name));
      all.delete(name);
    },
    clear: () => {
      for (const held of all.values()) release(held);
      all.clear();
    },
  };
}
