/** What carries FUSE messages between the kernel and the server: /dev/fuse, or a test that plays the kernel. */
export interface FuseTransport {
  /** Begins to read. Called once. */
  start(events: FuseTransportEvents): void;
  /**
   * Sends one reply, its parts in order, before it returns; they may be used again afterwards. False: the kernel no
   * longer waits for it (the request was interrupted or the connection has ended), so what it granted must be undone.
   */
  reply(parts: readonly Uint8Array[]): boolean;
  /** Gives back a buffer that `onMessage` kept. */
  release(message: Buffer): void;
  /** Stops and starts reading. One message may still come after `pause`. */
  pause(): void;
  resume(): void;
  /** Ends the connection: the kernel answers every request under way and to come with ENOTCONN. Idempotent. */
  close(): void;
}

export interface FuseTransportEvents {
  /** One message. The buffer is valid only during the call; if it returns true, until it is released. */
  onMessage(message: Buffer): boolean;
  /** Once, at the end, whoever ended it. */
  onEnd(reason: string): void;
}
