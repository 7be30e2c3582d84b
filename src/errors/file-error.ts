import { type ErrnoName, errno } from "./errno.ts";

/** A file operation's answer that is an error number: what the application gets. Cheap to throw: it has no stack. */
export class FileError extends Error {
  readonly errno: number;
  readonly code: ErrnoName;
  constructor(code: ErrnoName, message: string = code) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = limit;
    this.name = "FileError";
    this.code = code;
    this.errno = errno[code];
  }
}

export function isFull(error: unknown): error is FileError {
  return error instanceof FileError && error.code === "ENOSPC";
}
