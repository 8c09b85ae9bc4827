import type { Lowering } from "../../graph/lower/lower.ts";
import type { PackagedModel } from "../../hub/packaged.ts";
import type { Features } from "../backend.ts";

/** Files that a device needs beyond ONNX Runtime's package. */
export interface DeviceNeeds {
  /** Beside the package's own library. */
  readonly besideEngine: readonly string[];
  /** Where the system finds libraries. */
  readonly libraries: readonly string[];
  /** A Python package that carries those beside the engine, and the version of ONNX Runtime that they are of. */
  readonly carrier: { readonly engine: string; readonly content: PackagedModel };
}

/** A device of ONNX Runtime, as its file states it. */
export interface DeviceSpec {
  readonly name: string;
  /** Platforms (`process.platform`) that can have it; whether its driver is there shows when it is used. */
  readonly platforms: readonly string[];
  /** ONNX Runtime's execution providers, the first choice first. */
  readonly providers: readonly string[];
  /** What none of them has runs on the CPU, and nobody is told; else it is an error. */
  readonly fallsBack: boolean;
  /** What it has otherwise; null: nothing is known. */
  readonly lowering: Lowering | null;
  /** By platform and processor (`linux-x64`); those that are not named need nothing, or nothing is known. */
  readonly needs: Readonly<Partial<Record<string, DeviceNeeds>>>;
  /** A GPU that may be chosen where nobody names a device, if it passes its check (`src/runtime/check`). */
  readonly mayBeChosen: boolean;
  /** Every build of ONNX Runtime has it: what fails there is not its absence. */
  readonly isAlwaysThere: boolean;
  /** ONNX Runtime's binding has tensors in its memory: what is kept stays there. */
  readonly hasBuffers: boolean;
  readonly features: Features;
  /** What its user is told of how it was tested (`test/runtime/backend.test.ts`, `test/device`), after its name; null: on every machine. */
  readonly notice: string | null;
}
