/** From a transaction's result to what the caller of the FileSystem gets. */
import { type ErrnoName, errno, errnoName } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import type { Result } from "../namespace/operation.ts";

type ResultOf<K extends Result["kind"]> = Extract<Result, { kind: K }>;

/** The result, if it is of this kind. Errors: FileError for `failed`. */
export function expectResult<K extends Result["kind"]>(result: Result, kind: K): ResultOf<K> {
  if (result.kind === kind) return result as ResultOf<K>;
  if (result.kind === "failed") throw fileErrorOf(result.errno);
  throw new Error(`a result of kind ${result.kind} where ${kind} was due`);
}

function fileErrorOf(number: number): FileError {
  const name = errnoName(number);
  return name in errno ? new FileError(name as ErrnoName) : new FileError("EIO", name);
}
