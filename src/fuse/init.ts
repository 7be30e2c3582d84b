/**
 * INIT: what kernel and server agree on for the whole mount.
 *
 * Left out on purpose: WRITEBACK_CACHE (the kernel would then ignore sizes and times that other clients change),
 * AUTO_INVAL_DATA (EXPLICIT_INVAL_DATA stands instead), NO_OPEN_SUPPORT
 * (every open is a hold), DO_READDIRPLUS (see requests/directories.ts).
 *
 * DONT_MASK goes with POSIX_ACL: the umask comes with each request, and counts only where no default ACL does (acl(5)).
 */
import { BrineError } from "../errors/brine-error.ts";
import {
  dataBytesMax,
  feature,
  initIn,
  initOut,
  protocolMajor,
  protocolMinorMax,
  protocolMinorMin,
} from "./protocol.ts";
import type { Request } from "./request.ts";

const wantedFeatures = Object.values(feature).reduce((all, one) => all | one, 0n);

/** Without these the mount would not be correct or would be a hundred times slower; every kernel since 5.4 has them. */
const demandedFeatures = feature.MAX_PAGES | feature.BIG_WRITES | feature.ATOMIC_O_TRUNC;

/**
 * Requests that no task waits for (read-ahead, write-back, asynchronous direct I/O, RELEASE): the kernel queues more than
 * these itself. The default of 12 starves parallel direct I/O. Requests that a task waits for are one each.
 */
export const backgroundRequestsMax = 64;
/** From three quarters on the kernel calls the connection congested, as its own default does. */
const congestionThreshold = 48;
/** Nanoseconds: times have full resolution. */
const timeGranularityNs = 1;
const pageBytes = 4096;

export interface Agreement {
  readonly minor: number;
  readonly features: bigint;
  /** fuse_init_out. */
  readonly reply: Uint8Array;
}

/**
 * Reads fuse_init_in and builds the answer. `featureMask`, `minorMax`: take no more than these, to run as on an older
 * kernel. Errors: BrineError `versionMismatch` for a kernel that is too old.
 */
export function negotiate(
  request: Request,
  featureMask: bigint = wantedFeatures,
  minorMax: number = protocolMinorMax,
): Agreement {
  request.expect(initIn.bytes);
  const major = request.u32(initIn.major);
  const minor = request.u32(initIn.minor);
  const extended = request.message.length >= 40 + initIn.extendedBytes;
  const offered = BigInt(request.u32(initIn.flags)) | (extended ? BigInt(request.u32(initIn.flags2)) << 32n : 0n);
  const features = offered & wantedFeatures & featureMask;
  if (major !== protocolMajor || minor < protocolMinorMin || (features & demandedFeatures) !== demandedFeatures) {
    throw new BrineError("versionMismatch", `the kernel speaks FUSE ${major}.${minor}, too old or unknown`, {
      advice: `brinefs needs FUSE ${protocolMajor}.${protocolMinorMin}, which Linux has since 5.4`,
    });
  }
  const agreedMinor = Math.min(minor, minorMax, protocolMinorMax);
  const reply = Buffer.alloc(initOut.bytes);
  reply.writeUInt32LE(protocolMajor, initOut.major);
  reply.writeUInt32LE(agreedMinor, initOut.minor);
  reply.writeUInt32LE(request.u32(initIn.maxReadahead), initOut.maxReadahead);
  reply.writeUInt32LE(Number(features & 0xffff_ffffn), initOut.flags);
  reply.writeUInt32LE(Number(features >> 32n), initOut.flags2);
  reply.writeUInt16LE(backgroundRequestsMax, initOut.maxBackground);
  reply.writeUInt16LE(congestionThreshold, initOut.congestionThreshold);
  reply.writeUInt32LE(dataBytesMax, initOut.maxWrite);
  reply.writeUInt32LE(timeGranularityNs, initOut.timeGranularity);
  reply.writeUInt16LE(dataBytesMax / pageBytes, initOut.maxPages);
  return { minor: agreedMinor, features, reply };
}
