import { LowrankError } from "../src/errors.ts";

/** The error of ours that work ends with. */
export async function errorOf(work: Promise<unknown>): Promise<LowrankError> {
  const error = await work.then(
    () => null,
    (e: unknown) => e,
  );
  if (!(error instanceof LowrankError)) throw new Error(`expected a LowrankError, got ${error}`);
  return error;
}
