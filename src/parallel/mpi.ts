import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { deserialize, serialize } from "node:v8";
import { LowrankError } from "../errors.ts";
import { ALONE, type ProcessGroup } from "./group.ts";
import { loadMpi, type MpiLibrary } from "./mpi-library.ts";

/** Variables by which launchers tell a process how many there are: Open MPI, MPICH and Intel MPI, Slurm with PMI. */
const SIZE_VARIABLES = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] as const;

/** Calls come from several threads, one at a time (MPI_THREAD_SERIALIZED). */
const SERIALIZED = 2;
/** Elements that one call takes: counts are C integers. */
const PIECE = 2 ** 28;

/** Whether a launcher of MPI (mpirun, srun, Kubernetes' MPIJob) started this process. */
function isLaunched(environment: NodeJS.ProcessEnv): boolean {
  return (
    SIZE_VARIABLES.some((name) => environment[name] !== undefined) || environment.PMIX_RANK !== undefined
  );
}

/** The processes that `mpirun` started together with this one; a process that was started by itself is alone, and nothing is loaded.
 *  @throws LowrankError ("mpi") where the library or the package that reaches it is missing */
export async function openProcessGroup(environment: NodeJS.ProcessEnv = process.env): Promise<ProcessGroup> {
  if (!isLaunched(environment)) return ALONE;
  const mpi = await loadMpi(environment);
  const number = (name: "MPI_Comm_rank" | "MPI_Comm_size"): number => {
    const out = [0];
    mpi.call(name, mpi.world, out);
    return out[0] as number;
  };
  const provided = [0];
  mpi.call("MPI_Init_thread", null, null, SERIALIZED, provided);
  if ((provided[0] as number) < SERIALIZED)
    throw new LowrankError(
      "mpi",
      "this MPI library takes calls from one thread only (no MPI_THREAD_SERIALIZED)",
    );
  const [rank, size] = [number("MPI_Comm_rank"), number("MPI_Comm_size")];
  const group = groupOf(mpi, rank, size);
  const hosts = await group.gather(hostname());
  return { ...group, localSize: hosts.filter((host) => host === hostname()).length };
}

function groupOf(mpi: MpiLibrary, rank: number, size: number): Omit<ProcessGroup, "localSize"> {
  const { world, types } = mpi;
  const sum: ProcessGroup["sum"] = async (values) => {
    const type = values instanceof Float32Array ? types.float : types.double;
    for (const piece of pieces(values))
      await mpi.callAsync("MPI_Allreduce", mpi.inPlace, piece, piece.length, type, mpi.sum, world);
  };
  const gather: ProcessGroup["gather"] = async (value) => {
    const own = serialize(value);
    const lengths = new Int32Array(size);
    await mpi.callAsync(
      "MPI_Allgather",
      Int32Array.of(own.length),
      1,
      types.int,
      lengths,
      1,
      types.int,
      world,
    );
    const starts = Int32Array.from(lengths.keys(), (i) => total(lengths.subarray(0, i)));
    const all = new Uint8Array(total(lengths));
    await mpi.callAsync(
      ...(["MPI_Allgatherv", own, own.length, types.byte, all, lengths, starts, types.byte, world] as const),
    );
    return Array.from(lengths, (length, i) => {
      const start = starts[i] as number;
      return deserialize(all.subarray(start, start + length));
    });
  };
  const broadcast: ProcessGroup["broadcast"] = async (value) => {
    const own = rank === 0 ? serialize(value) : null;
    const length = Float64Array.of(own?.length ?? 0);
    await mpi.callAsync("MPI_Bcast", length, 1, types.double, 0, world);
    const bytes = own ?? new Uint8Array(length[0] as number);
    for (const piece of pieces(bytes))
      await mpi.callAsync("MPI_Bcast", piece, piece.length, types.byte, 0, world);
    return own === null ? deserialize(bytes) : value;
  };
  return {
    ...{ rank, size, sum, gather, broadcast },
    alike: async (values) => {
      const hashes = await gather(createHash("sha256").update(values).digest("hex"));
      return hashes.map((hash) => hash === hashes[0]);
    },
    abort: (status) => void mpi.call("MPI_Abort", world, status),
    close: () => void mpi.call("MPI_Finalize"),
  };
}

function pieces<T extends Float32Array | Float64Array | Uint8Array>(values: T): T[] {
  const count = Math.ceil(values.length / PIECE);
  return Array.from({ length: count }, (_, i) => values.subarray(i * PIECE, (i + 1) * PIECE) as T);
}

function total(lengths: Int32Array): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}
