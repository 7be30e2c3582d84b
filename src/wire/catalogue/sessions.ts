/** How sessions of clients begin and end. Numbers 100–104. */
import { i64, nothing, optional, struct, text, u32, u64 } from "../../codec/schema.ts";
import { sessionUser, volumeRecord } from "../../namespace/model.ts";
import { method } from "../method.ts";

/**
 * Opens a session on a volume, or finds the one that this client already has (P4).
 *
 * `user`: for whom the session acts, for good; his permissions are checked (FileError EACCES, EPERM), and what he may not read
 * isn't told: names of a directory that he may not read nor search, and the chunk map of a file that he may neither read nor
 * write, and doesn't own. Without one it is a mount's session: the kernel checks. The user is what the client says.
 *
 * Errors: notFound, busy, invalid (the session is on another volume, or has another user).
 */
export const openSession = method(
  100,
  "leader.openSession",
  struct({ clientId: text(64), volume: text(64), host: text(256), user: optional(sessionUser) }),
  struct({
    session: u64,
    /** The last transaction of the session that took effect: the client drops what it has up to here after `resend`. */
    lastSequence: u64,
    volume: volumeRecord,
    /** The session ends this long after the sending of the last heartbeat that was acknowledged. */
    sessionTimeoutMs: u32,
    /**
     * The grant of the leases that the client has on what it creates, from the creation on: nobody else can know of it,
     * and every later grant is higher.
     */
    coverGrant: u64,
    /** The leader's wall clock: the client's times are aligned to it. */
    nowNs: i64,
  }),
);

/** Ends the session: the client has given back everything. */
export const closeSession = method(103, "leader.closeSession", struct({ session: u64 }), nothing);

/**
 * On a second connection, which carries nothing else and is idle: when its client's process ends, for whatever reason, the
 * kernel ends this connection in an orderly way, and the session can be ended at once. A client that lives keeps it open,
 * and closes it only after another one was accepted. `number` counts up with each that a client opens.
 *
 * `clientAddress`: the connection's address on the client's machine. If the leader sees another one, something in between
 * ends connections on its own account, and what this one does proves nothing. Errors: sessionExpired, invalid.
 */
export const lifeline = method(
  104,
  "leader.lifeline",
  struct({ session: u64, number: u32, clientAddress: text(256) }),
  nothing,
);
