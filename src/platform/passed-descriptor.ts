/**
 * A pair of connected sockets, over one of which a child process passes a descriptor (unix(7), SCM_RIGHTS): Node has neither.
 * Structures as the C library lays them out on 64-bit machines, little-endian as all that brinefs runs on.
 */
import { closeSync } from "node:fs";
import koffi from "koffi";
import { libc, libcError } from "./libc.ts";

const socketpair = libc.func("int socketpair(int domain, int type, int protocol, void *sockets)");
const recvmsg = libc.func("int64 recvmsg(int socket, void *message, int flags)");
const fcntl = libc.func("int fcntl(int fd, int command, ...)");

/** sys/socket.h */
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** fcntl.h */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** struct msghdr: name, its length, iov, its count, control, its length, flags. */
const message = { iov: 16, iovCount: 24, control: 32, controlBytes: 40, bytes: 56 } as const;
/** struct cmsghdr with one descriptor in it. */
const control = { bytes: 0, level: 8, type: 12, descriptor: 16, all: 24 } as const;

export interface SocketPair {
  readonly ours: number;
  /** For the child. */
  readonly theirs: number;
}

export function openSocketPair(): SocketPair {
  const sockets = new Int32Array(2);
  // The child gets its end as one of its stdio descriptors, which are inherited all the same.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) !== 0) throw libcError("socketpair");
  return { ours: sockets[0]!, theirs: sockets[1]! };
}

/**
 * The descriptor that was passed, without waiting for it; closed in children, and non-blocking if that is asked for. Undefined:
 * there is none. The socket is closed.
 */
export function takePassedDescriptor(socket: number, options: { nonBlocking: boolean }): number | undefined {
  try {
    const [header, vector] = [Buffer.alloc(message.bytes), Buffer.alloc(16)];
    const [data, passed] = [Buffer.alloc(1), Buffer.alloc(control.all)];
    vector.writeBigUInt64LE(koffi.address(data), 0);
    vector.writeBigUInt64LE(1n, 8);
    header.writeBigUInt64LE(koffi.address(vector), message.iov);
    header.writeBigUInt64LE(1n, message.iovCount);
    header.writeBigUInt64LE(koffi.address(passed), message.control);
    header.writeBigUInt64LE(BigInt(passed.byteLength), message.controlBytes);
    if (recvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return undefined;
    const isDescriptor =
      header.readBigUInt64LE(message.controlBytes) >= control.descriptor + 4 &&
      passed.readInt32LE(control.level) === SOL_SOCKET &&
      passed.readInt32LE(control.type) === SCM_RIGHTS;
    if (!isDescriptor) return undefined;
    const descriptor = passed.readInt32LE(control.descriptor);
    if (options.nonBlocking) {
      const flags = fcntl(descriptor, F_GETFL);
      if (fcntl(descriptor, F_SETFL, "int", flags | O_NONBLOCK) !== 0) throw libcError("fcntl");
    }
    return descriptor;
  } finally {
    closeSync(socket);
  }
}
