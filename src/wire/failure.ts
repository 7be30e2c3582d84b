/**
 * Failures on the wire: errors of one process that are thrown again in another.
 *
 * A BrineError travels with its code, message and advice, a FileError with its errno; anything else is a defect of the
 * process that threw it and arrives as `internal`. This format can't change with the protocol's version: a refusal of
 * another version has to be understood.
 */
import { type Infer, struct, text, u16 } from "../codec/schema.ts";
import { BrineError, type BrineErrorCode } from "../errors/brine-error.ts";
import { type ErrnoName, errnoName, errno as errnoNumbers } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { messageOf } from "../errors/message.ts";

const messageBytesMax = 4096;

export const failure = struct({
  /** A BrineErrorCode; empty for a FileError. */
  code: text(32),
  /** 0 for a BrineError. */
  errno: u16,
  message: text(messageBytesMax),
  /** What to do next; empty if there is nothing to say. */
  advice: text(messageBytesMax),
});
export type Failure = Infer<typeof failure>;

/** An object, so that the type checker sees a code that is missing here. */
const codes: Record<BrineErrorCode, true> = {
  unreachable: true,
  protocol: true,
  refused: true,
  wrongCluster: true,
  versionMismatch: true,
  closed: true,
  timedOut: true,
  notLeader: true,
  notServing: true,
  sessionExpired: true,
  sessionFenced: true,
  wrongGeneration: true,
  superseded: true,
  unknownChunk: true,
  badChecksum: true,
  noSpace: true,
  diskFailed: true,
  notFound: true,
  exists: true,
  busy: true,
  invalid: true,
  internal: true,
};

/** `where` names method and server, for the message of an error that says nothing of it itself. */
export function failureOf(error: unknown, where: string): Failure {
  if (error instanceof FileError) return { code: "", errno: error.errno, message: cut(error.message), advice: "" };
  if (error instanceof BrineError) {
    return { code: error.code, errno: 0, message: cut(error.message), advice: cut(error.advice ?? "") };
  }
  const message = messageOf(error);
  const advice = "This is a defect: see the log of that process for its stack.";
  return { code: "internal", errno: 0, message: cut(`${where} failed unexpectedly: ${message}`), advice };
}

export function errorOf(told: Failure): BrineError | FileError {
  if (told.code === "") {
    const name = errnoName(told.errno);
    if (Object.hasOwn(errnoNumbers, name)) return new FileError(name as ErrnoName, told.message);
    return new FileError("EIO", `${told.message} (errno ${told.errno})`);
  }
  const options = told.advice === "" ? {} : { advice: told.advice };
  // A newer peer may know codes that we don't: what it says is still worth reading.
  if (!Object.hasOwn(codes, told.code)) return new BrineError("internal", `${told.code}: ${told.message}`, options);
  return new BrineError(told.code as BrineErrorCode, told.message, options);
}

/** What fits the bound: every UTF-16 unit takes at most three bytes. */
function cut(message: string): string {
  const units = Math.floor(messageBytesMax / 3);
  return message.length <= units ? message : `${message.slice(0, units - 1)}…`;
}
