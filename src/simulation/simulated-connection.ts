/** One end of a simulated connection. */
import { type Address, type Connection, type ConnectionEvents, closedByPeer } from "../platform/network.ts";
import type { Incarnation } from "./incarnation.ts";
import type { Link } from "./link.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import { SimulatedStream } from "./simulated-stream.ts";

export class SimulatedConnection implements Connection {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly incarnation: Incarnation;
  #events: ConnectionEvents | undefined;
  #outgoing: SimulatedStream | undefined;
  #other: SimulatedConnection | undefined;
  #link: Link | undefined;
  #random: SimulatedRandom | undefined;
  #ended = false;
  /** The owner is dead and its machine had no time, or no power, to say so. */
  #halfOpen = false;
  #machineIsBack = false;

  constructor(incarnation: Incarnation, remoteAddress: Address, localAddress: Address) {
    this.incarnation = incarnation;
    this.remoteAddress = remoteAddress;
    this.localAddress = localAddress;
  }

  attach(other: SimulatedConnection, link: Link, random: SimulatedRandom, notBeforeUs: number): void {
    this.#other = other;
    this.#link = link;
    this.#random = random;
    this.#outgoing = new SimulatedStream(this, other, link, random, notBeforeUs);
  }

  get otherEnd(): SimulatedConnection {
    return this.#other!;
  }

  /** Nothing comes from this end any more, and nothing reaches it. */
  get dead(): boolean {
    return this.#ended;
  }

  start(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new Error("started twice");
    this.#events = events;
  }

  send(buffers: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#ended) return true; // onClose is on its way; there is nothing to wait for
    const other = this.#other!;
    if (other.#halfOpen && other.#machineIsBack) this.#resetLater();
    return this.#outgoing!.send(buffers, sent);
  }

  get bufferedBytes(): number {
    return this.#outgoing!.bufferedBytes;
  }

  destroy(): void {
    if (this.#ended) return;
    // Unread data makes the kernel send a reset instead of an end, and the other side may lose what is in flight.
    const reset = this.#random!.chance(0.2);
    this.#outgoing!.end(reset ? "ECONNRESET" : closedByPeer, reset);
    this.#close("closed here");
  }

  reset(): void {
    if (this.#ended) return;
    this.#outgoing!.end("ECONNRESET", true);
    this.#close("ECONNRESET");
  }

  /** What this end sends reaches the other after this time only. */
  holdUntil(timeUs: number): void {
    this.#outgoing!.holdUntil(timeUs);
  }

  /** This end takes the connection for lost, and goes on with another. The other end gets all that is in flight before it learns. */
  giveUp(): void {
    if (this.#ended) return;
    this.#outgoing!.end("ECONNRESET", false);
    this.#close("ECONNRESET");
  }

  ownerDied(silent: boolean): void {
    if (silent) {
      this.#halfOpen = true;
      this.#outgoing!.losePower();
    } else if (!this.#ended) {
      // The kernel ends the connections of a dead process in order, unless data was on its way to it.
      if (this.#other!.#outgoing!.isIdle) this.#outgoing!.end(closedByPeer, false);
      else this.#outgoing!.end("ECONNRESET", this.#random!.chance(0.5));
    }
    this.#ended = true;
  }

  machineIsBack(): void {
    this.#machineIsBack = true;
    const other = this.#other!;
    // What was sent meanwhile is sent again by TCP, and is then answered.
    if (this.#halfOpen && !other.#ended && this.#random!.chance(0.7)) other.#resetLater();
  }

  arrived(bytes: Uint8Array | undefined, reason: string): void {
    if (this.#ended) return;
    if (bytes === undefined) {
      this.#outgoing!.end(closedByPeer, true);
      this.#close(reason);
      return;
    }
    if (this.#events === undefined) throw new Error(`connection to ${this.remoteAddress}: bytes before start()`);
    this.#events.onData(bytes);
  }

  drained(): void {
    if (!this.#ended) this.#events?.onDrain();
  }

  #resetLater(): void {
    this.incarnation.after(2 * this.#link!.latencyUs() + this.#link!.retransmitUs(), "reset", () => {
      if (!this.#ended) this.#close("ECONNRESET");
    });
  }

  #close(reason: string): void {
    this.#ended = true;
    this.incarnation.after(0, `closed: ${reason}`, () => this.#events?.onClose(reason));
  }
}
