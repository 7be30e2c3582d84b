/** Byte streams between processes: TCP in production, seeded and faulty in the simulation. */

/** `HOST:PORT`; an IPv6 host stands in brackets. */
export type Address = string;

export interface Network {
  /** Listens on `address` (port 0: a free one). Errors: NetworkError EADDRINUSE, EADDRNOTAVAIL, EACCES. */
  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** Connects within `timeoutMs`. Errors: NetworkError ECONNREFUSED (nobody listens), ETIMEDOUT, EHOSTUNREACH, … */
  connect(address: Address, timeoutMs: number): Promise<Connection>;
}

export interface Listener {
  /** The address that was bound, with the real port. */
  readonly address: Address;
  /** Stops accepting; connections that exist go on. */
  close(): Promise<void>;
}

/**
 * The reason of an end that the other side's kernel has told in an orderly way (a FIN): its process has closed the
 * connection, or has ended. Never a network that broke, which is silence or a reset.
 */
export const closedByPeer = "closed by peer";

export interface ConnectionEvents {
  /**
   * Bytes that have arrived. The buffer belongs to the connection and is valid only during the call: copy what is kept.
   */
  onData(bytes: Uint8Array): void;
  /**
   * Where the next bytes are to be written, so that they need not be copied; they are then given to `onData` as any others.
   * A connection may ask after each `onData`, or never.
   */
  target?(): Uint8Array | undefined;
  /** What was buffered by `send` has gone down to below the low-water mark after `send` returned false. */
  onDrain(): void;
  /** Once, at the end, whoever ended it. `reason` is a short text: `closed by peer`, `ECONNRESET`, `closed here`. */
  onClose(reason: string): void;
}

export interface Connection {
  readonly remoteAddress: Address;
  /** As this machine sees it. The other side sees the same unless something in between translates addresses or forwards. */
  readonly localAddress: Address;
  /** Must be called in the same turn in which the connection is received. */
  start(events: ConnectionEvents): void;
  /**
   * Sends the buffers in order without joining them. They must not be changed until sent; they are never kept after.
   * Returns false while more is waiting than the high-water mark (4 MiB): wait for onDrain before sending more bulk.
   *
   * @param sent called when all of them have been sent; never, if the connection ends before
   */
  send(buffers: readonly Uint8Array[], sent?: () => void): boolean;
  /** Bytes accepted by `send` that the kernel has not taken yet. */
  readonly bufferedBytes: number;
  /** Ends the connection at once; unsent bytes are lost. onClose follows. Idempotent. */
  destroy(): void;
}

export class NetworkError extends Error {
  readonly code: string;
  constructor(code: string, what: string, cause?: unknown) {
    super(`${what}: ${code}`, { cause });
    this.name = "NetworkError";
    this.code = code;
  }
}
