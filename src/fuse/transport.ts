/** What carries FUSE messages between the kernel and the server: /dev/fuse, or a test that plays the kernel. */
export interface FuseTransport {
  /** Begins to read. Called once. */
  start(events: FuseTransportEvents): void;
  /**
   * Sends one reply, its parts in order, before it returns; they may be used again afterwards. False: the kernel no
   * longer waits for it (the request was interrupted or the connection has ended), so what it granted must be undone.
   */
  reply(parts: readonly Uint8Array[]): boolean;
  /** Sends a message that the kernel did not ask for, and that does not block. Returns what the kernel made of it. */
  notify(message: Uint8Array): "done" | "unknownNode" | "notSupported" | "ended";
  /**
   * The same for one that may block, for as long as the kernel waits for answers of ours: on a thread of its own. Resolves
   * when the kernel is through with it, or the connection has ended.
   */
  notifyBlocking(message: Uint8Array): Promise<void>;
  /** A call of `notifyBlocking` may be near: have a thread ready. */
  prepareNotify(): void;
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
  /** Requests are under way that wait for something else than the kernel: the event loop must see to that. */
  isWaiting(): boolean;
  /** Once, at the end, whoever ended it. */
  onEnd(reason: string): void;
}
