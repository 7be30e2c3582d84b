/**
 * TCP through node:net. Received bytes go straight from the kernel into one buffer that all connections share: libuv
 * reads and delivers in one step, and ConnectionEvents.onData may not keep the bytes. That is about 1.7 × as fast as
 * `data` events, which allocate for each read.
 *
 * Node offers such a buffer (`onread`) only for sockets that it connects itself. An accepted one is therefore taken
 * apart: its handle gets a new Socket made with `onread`. `_handle` is not a documented property; where it is missing,
 * `data` events serve.
 */
import * as net from "node:net";
import { joinAddress, splitAddress } from "./address.ts";
import {
  type Address,
  type Connection,
  type ConnectionEvents,
  closedByPeer,
  type Listener,
  type Network,
  NetworkError,
} from "./network.ts";

/** Above this many unsent bytes `send` says stop. Two of the largest messages on their way, and two waiting. */
const sendBufferBytesMax = 4 * 1024 * 1024;

/** A dead peer that has no heartbeats of its own is noticed by the kernel from then on. */
const keepAliveDelayMs = 10_000;

const receiveBuffer = Buffer.allocUnsafeSlow(1024 * 1024);

export const realNetwork: Network = { listen, connect };

async function listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
  const { host, port } = splitAddress(address);
  const server = net.createServer({ pauseOnConnect: true }, (socket) => onConnection(accepted(socket)));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(networkError(error, `listen on ${address}`)));
    server.listen({ host, port }, resolve);
  });
  // Accepting can fail later, for want of descriptors: libuv goes on accepting when there are some again.
  server.removeAllListeners("error").on("error", () => {});
  const bound = server.address() as net.AddressInfo;
  return {
    address: joinAddress(host, bound.port),
    async close() {
      server.close(); // the port is free at once; its callback would wait for the last connection
    },
  };
}

function connect(address: Address, timeoutMs: number): Promise<Connection> {
  const { host, port } = splitAddress(address);
  const connection = new SocketConnection(address);
  const socket = new net.Socket(connection.socketOptions(undefined));
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => {
      socket.destroy();
      reject(new NetworkError("ETIMEDOUT", `connect to ${address}`));
    }, timeoutMs);
    const failed = (error: Error) => {
      clearTimeout(timeout);
      reject(networkError(error, `connect to ${address}`));
    };
    socket.once("error", failed);
    socket.connect({ host, port }, () => {
      clearTimeout(timeout);
      socket.removeListener("error", failed);
      connection.attach(socket);
      resolve(connection);
    });
  });
}

function accepted(socket: net.Socket): Connection {
  const connection = new SocketConnection(joinAddress(socket.remoteAddress ?? "unknown", socket.remotePort ?? 0));
  const internal = socket as unknown as { _handle?: object | null };
  const handle = internal._handle;
  if (handle) {
    // Here, on the socket as it was accepted: one that is made around a handle believes that its options hold already.
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveDelayMs);
    internal._handle = null;
    connection.attach(new net.Socket(connection.socketOptions(handle)));
  } else {
    connection.attach(socket);
    socket.on("data", (bytes) => connection.received(bytes as Buffer));
    socket.resume();
  }
  return connection;
}

class SocketConnection implements Connection {
  readonly remoteAddress: Address;
  #socket: net.Socket | undefined;
  #events: ConnectionEvents | undefined;
  #closeReason: string = closedByPeer;
  #corked = false;
  #mustDrain = false;

  constructor(remoteAddress: Address) {
    this.remoteAddress = remoteAddress;
  }

  /** Options for a socket that belongs to this connection, around an accepted `handle` or to be connected. */
  socketOptions(handle: object | undefined): net.SocketConstructorOpts {
    const options = {
      handle,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveDelayMs,
      writableHighWaterMark: sendBufferBytesMax,
      onread: {
        buffer: () => this.#events?.target?.() ?? receiveBuffer,
        callback: (count: number, buffer: Uint8Array) => this.received(buffer.subarray(0, count)),
      },
    };
    return options as net.SocketConstructorOpts;
  }

  attach(socket: net.Socket): void {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveDelayMs);
    socket.on("drain", () => this.#drained());
    socket.on("error", (error) => {
      if (this.#closeReason === closedByPeer) this.#closeReason = networkError(error, "").code;
    });
    socket.on("close", () => this.#events?.onClose(this.#closeReason));
  }

  received(bytes: Uint8Array): boolean {
    if (this.#events === undefined) throw new Error(`connection of ${this.remoteAddress}: bytes before start()`);
    this.#events.onData(bytes);
    return true;
  }

  start(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new Error("started twice");
    this.#events = events;
  }

  send(buffers: readonly Uint8Array[], sent?: () => void): boolean {
    const socket = this.#socket!;
    if (socket.destroyed || socket.writableEnded) return true; // onClose is on its way; there is nothing to wait for
    if (!this.#corked) {
      // All that is sent in this turn leaves in one writev(2).
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    const last = buffers.length - 1;
    for (let at = 0; at < last; at++) socket.write(buffers[at]!);
    if (sent === undefined) socket.write(buffers[last]!);
    else socket.write(buffers[last]!, (error) => void (error || sent()));
    if (socket.writableLength < sendBufferBytesMax) return true;
    this.#mustDrain = true;
    return false;
  }

  get localAddress(): Address {
    return joinAddress(this.#socket?.localAddress ?? "unknown", this.#socket?.localPort ?? 0);
  }

  get bufferedBytes(): number {
    return this.#socket!.writableLength;
  }

  destroy(): void {
    if (this.#socket!.destroyed) return;
    this.#closeReason = "closed here";
    this.#socket!.destroy();
  }

  #drained(): void {
    if (!this.#mustDrain) return;
    this.#mustDrain = false;
    this.#events?.onDrain();
  }
}

function networkError(error: Error, what: string): NetworkError {
  // A name with several addresses fails with all their errors: the first one says why.
  const first = error instanceof AggregateError ? (error.errors[0] as Error) : error;
  return new NetworkError((first as NodeJS.ErrnoException).code ?? "EIO", what, error);
}
