/**
 * An error that a person or a peer reads. `code` is part of the interface (wire, exit codes, tests), `message` says what
 * happened and where, `advice` what to do next.
 */
export type BrineErrorCode =
  // connection and handshake
  | "unreachable"
  | "protocol"
  | "refused"
  | "wrongCluster"
  | "versionMismatch"
  | "closed"
  | "timedOut"
  // roles and sessions
  | "notLeader"
  | "notServing"
  | "sessionExpired"
  | "sessionFenced"
  // stores
  | "wrongGeneration"
  | "superseded"
  | "unknownChunk"
  | "badChecksum"
  | "noSpace"
  | "diskFailed"
  // administration
  | "notFound"
  | "exists"
  | "busy"
  | "invalid"
  | "internal";

export class BrineError extends Error {
  readonly code: BrineErrorCode;
  readonly advice: string | undefined;
  constructor(code: BrineErrorCode, message: string, options: { advice?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "BrineError";
    this.code = code;
    this.advice = options.advice;
  }
}

/** True for a BrineError with one of these codes. */
export function hasCode(error: unknown, ...codes: BrineErrorCode[]): error is BrineError {
  return error instanceof BrineError && codes.includes(error.code);
}
