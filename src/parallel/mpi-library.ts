import { LowrankError } from "../errors.ts";

/** Addresses (Open MPI) or numbers (MPICH) of the standard's constants, as functions take them. */
type Handle = bigint | number;

/** Functions of an MPI library that are used here, and the constants that they take. Each returns 0. */
export interface MpiLibrary {
  readonly world: Handle;
  readonly types: {
    readonly byte: Handle;
    readonly float: Handle;
    readonly double: Handle;
    readonly int: Handle;
  };
  readonly sum: Handle;
  /** The sending side of an operation that works in place. */
  readonly inPlace: Handle;
  /** @throws LowrankError ("mpi") if the library has no function of this name */
  call(name: MpiFunction, ...args: readonly unknown[]): number;
  /** The same in a thread of its own, so that signals are heard meanwhile. */
  callAsync(name: MpiFunction, ...args: readonly unknown[]): Promise<void>;
}

/** H: a handle. Signatures of the MPI standard, version 3.1. */
const FUNCTIONS = {
  MPI_Init_thread: ["void*", "void*", "int", "_Out_ int*"],
  MPI_Comm_rank: ["H", "_Out_ int*"],
  MPI_Comm_size: ["H", "_Out_ int*"],
  MPI_Allreduce: ["H", "void*", "int", "H", "H", "H"],
  MPI_Allgather: ["void*", "int", "H", "void*", "int", "H", "H"],
  MPI_Allgatherv: ["void*", "int", "H", "void*", "int*", "int*", "H", "H"],
  MPI_Bcast: ["void*", "int", "H", "int", "H"],
  MPI_Abort: ["H", "int"],
  MPI_Finalize: [],
} as const;

export type MpiFunction = keyof typeof FUNCTIONS;

/** An implementation: how its header (`mpi.h`) states constants. */
interface Implementation {
  /** Type of a handle in C. */
  readonly handle: "void*" | "int";
  /** `symbol`: the address of what the library exports under a name. */
  constants(symbol: (name: string) => bigint): Pick<MpiLibrary, "world" | "types" | "sum" | "inPlace">;
}

/** What tells Open MPI's library from others. */
const OPEN_MPI_WORLD = "ompi_mpi_comm_world";

const OPEN_MPI: Implementation = {
  handle: "void*",
  constants: (symbol) => ({
    world: symbol(OPEN_MPI_WORLD),
    types: {
      byte: symbol("ompi_mpi_byte"),
      float: symbol("ompi_mpi_float"),
      double: symbol("ompi_mpi_double"),
      int: symbol("ompi_mpi_int"),
    },
    sum: symbol("ompi_mpi_op_sum"),
    inPlace: 1n,
  }),
};

/** Its ABI is shared by Intel MPI, MVAPICH and Cray MPI (https://www.mpich.org/abi/). */
const MPICH: Implementation = {
  handle: "int",
  constants: () => ({
    world: 0x44000000,
    types: { byte: 0x4c00010d, float: 0x4c00040a, double: 0x4c00080b, int: 0x4c000405 },
    sum: 0x58000003,
    inPlace: -1n,
  }),
};

/** Names of the libraries. */
const OPEN_MPI_NAMES = ["libmpi.so.40", "libmpi.40.dylib"];
const MPICH_NAMES = ["libmpi.so.12", "libmpich.so.12", "libmpi.12.dylib"];
const ANY_NAMES = ["libmpi.so", "libmpi.dylib"];

/** Where to look. Only variables tell which launcher it was, and not all launchers set any (Slurm with PMIx): then Open MPI comes first. */
function namesFor(environment: NodeJS.ProcessEnv): readonly string[] {
  const own = environment[LIBRARY_VARIABLE];
  if (own) return [own];
  const isMpich = environment.PMI_RANK !== undefined && environment.OMPI_COMM_WORLD_SIZE === undefined;
  return isMpich
    ? [...MPICH_NAMES, ...ANY_NAMES, ...OPEN_MPI_NAMES]
    : [...OPEN_MPI_NAMES, ...ANY_NAMES, ...MPICH_NAMES];
}

/** Of a call's thread: MPICH 4.0 with UCX ends the process with the usual 128 KiB. */
const STACK_BYTES = 4 * 2 ** 20;

/** Environment variable that names the library, where it has another name. */
const LIBRARY_VARIABLE = "LOWRANK_MPI_LIBRARY";

/** Loads the MPI library of the launcher that this process was started by.
 *  @throws LowrankError ("mpi") that says what is missing */
export async function loadMpi(environment: NodeJS.ProcessEnv): Promise<MpiLibrary> {
  const koffi = await import("koffi").then(
    (module) => module.default,
    (error: Error) => {
      const message = `the optional package koffi, which reaches MPI, is not there (${firstLine(error)}); npm install koffi`;
      throw new LowrankError("mpi", message, { cause: error });
    },
  );
  koffi.config({ ...koffi.config(), async_stack_size: STACK_BYTES });
  const failures: string[] = [];
  for (const name of namesFor(environment)) {
    try {
      // Global: components that the library loads look for its symbols.
      const library = koffi.load(name, { global: true });
      return bind(library, has(library, OPEN_MPI_WORLD) ? OPEN_MPI : MPICH);
    } catch (error) {
      failures.push(`${name}: ${firstLine(error as Error)}`);
    }
  }
  const hint = `its libraries belong to the launcher (Debian: openmpi-bin, mpich); ${LIBRARY_VARIABLE} names one elsewhere`;
  throw new LowrankError("mpi", `no MPI library can be used: ${failures.join("; ")}; ${hint}`);
}

function has(library: Library, symbol: string): boolean {
  try {
    library.symbol(symbol);
    return true;
  } catch {
    return false;
  }
}

type Library = ReturnType<typeof import("koffi").default["load"]>;

function bind(library: Library, { handle, constants }: Implementation): MpiLibrary {
  const functions = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, types]) => {
      // What a sender sends may be the mark of an operation in place, which is an address in both.
      const args = types.map((type, i) =>
        type === "H" ? (name === "MPI_Allreduce" && i === 0 ? "void*" : handle) : type,
      );
      return [name, library.func(name, "int", args)];
    }),
  ) as Record<MpiFunction, ReturnType<typeof library.func>>;
  const check = (name: MpiFunction, status: unknown): number => {
    if (status === 0) return 0;
    throw new LowrankError("mpi", `${name} failed with ${status}`);
  };
  return {
    ...constants((name) => BigInt(library.symbol(name))),
    call: (name, ...args) => check(name, functions[name](...args)),
    callAsync: (name, ...args) =>
      new Promise((resolve, reject) => {
        functions[name].async(...args, (error: Error | null, status: unknown) => {
          if (error) return reject(error);
          try {
            check(name, status);
            resolve();
          } catch (failure) {
            reject(failure);
          }
        });
      }),
  };
}

function firstLine({ message }: Error): string {
  return message.split("\n", 1)[0] as string;
}
