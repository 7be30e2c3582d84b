/** Node's errors as DiskErrors. */
import { DiskError } from "./disk.ts";

/** The promise's value, or its error as a DiskError. */
export async function tried<T>(operation: string, path: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw diskError(operation, path, error);
  }
}

export function diskError(operation: string, path: string, error: unknown): DiskError {
  return error instanceof DiskError ? error : new DiskError(codeOf(error), operation, path, error);
}

/** The errno name of an error; `EIO` where there is none. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "EIO";
}
