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

/** An implementation: names of its library, and how its header (`mpi.h`) states constants. */
interface Implementation {
  readonly title: string;
  readonly names: readonly string[];
  /** Type of a handle in C. */
  readonly handle: "void*" | "int";
  /** `symbol`: the address of what the library exports under a name. */
  constants(symbol: (name: string) => bigint): Pick<MpiLibrary, "world" | "types" | "sum" | "inPlace">;
}

const OPEN_MPI: Implementation = {
  title: "Open MPI",
  names: ["libmpi.so.40", "libmpi.40.dylib", "libmpi.dylib", "libmpi.so"],
  handle: "void*",
  constants: (symbol) => ({
    world: symbol("ompi_mpi_comm_world"),
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
  title: "MPICH",
  names: ["libmpi.so.12", "libmpich.so.12", "libmpi.12.dylib", "libmpi.so"],
  handle: "int",
  constants: () => ({
    world: 0x44000000,
    types: { byte: 0x4c00010d, float: 0x4c00040a, double: 0x4c00080b, int: 0x4c000405 },
    sum: 0x58000003,
    inPlace: -1n,
  }),
};

/** Of a call's thread: MPICH 4.0 with UCX ends the process with the usual 128 KiB. */
const STACK_BYTES = 4 * 2 ** 20;

/** Environment variable that names the library, where it has another name. */
export const LIBRARY_VARIABLE = "LOWRANK_MPI_LIBRARY";

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
  const isOpenMpi = Object.keys(environment).some((name) => name.startsWith("OMPI_"));
  const implementation = isOpenMpi ? OPEN_MPI : MPICH;
  const own = environment[LIBRARY_VARIABLE];
  const names = own ? [own] : implementation.names;
  const failures: string[] = [];
  for (const name of names) {
    try {
      // Global: components that the library loads look for its symbols.
      return bind(koffi.load(name, { global: true }), implementation);
    } catch (error) {
      failures.push(`${name}: ${firstLine(error as Error)}`);
    }
  }
  const hint = `its libraries belong to the launcher (Debian: openmpi-bin, mpich); ${LIBRARY_VARIABLE} names one elsewhere`;
  throw new LowrankError(
    "mpi",
    `no library of ${implementation.title} can be used: ${failures.join("; ")}; ${hint}`,
  );
}

type Koffi = typeof import("koffi").default;

function bind(library: ReturnType<Koffi["load"]>, { handle, constants }: Implementation): MpiLibrary {
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
