/**
 * One direction of a simulated connection: what one end sends arrives at the other, whole and in order, cut into pieces
 * anywhere, some time later.
 *
 *     send → outgoing (the sender's buffers) → departure: copied, cut → in flight → arrival: onData
 *
 * An arrival only takes the first piece in flight, whatever piece it was scheduled for. So order holds however events are
 * delayed, by pauses or by cut links.
 */
import { crc32c } from "@node-rs/crc32";
import type { Incarnation } from "./incarnation.ts";
import type { Link } from "./link.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** As in the real network: above it, `send` says stop. */
const sendBufferBytesMax = 4 * 1024 * 1024;
/** What may be in flight: the receive window. */
const windowBytes = 4 * 1024 * 1024;
/** The time until the kernel takes what was sent. */
const departureUsMax = 10;
const bytesPerUs = 1_000;
/** Buffers handed to onData are overwritten with this after the call: nobody may have kept them. */
const poison = 0xdb;

export interface StreamEnd {
  readonly incarnation: Incarnation;
  /** Bytes, or undefined and why: the other side has ended the connection. */
  arrived(bytes: Uint8Array | undefined, reason: string): void;
  drained(): void;
}

type Piece =
  | { readonly bytes: Uint8Array; readonly reason: "" }
  | { readonly bytes: undefined; readonly reason: string };

export class SimulatedStream {
  readonly #from: StreamEnd;
  readonly #to: StreamEnd;
  readonly #link: Link;
  readonly #random: SimulatedRandom;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  /** What is to be called when all that is waiting has been sent. */
  #whenSent: (() => void)[] = [];
  #departing = false;
  #mustDrain = false;
  readonly #inFlight: Piece[] = [];
  #inFlightBytes = 0;
  #lastArrivalUs: number;
  /** Nothing arrives before. */
  #heldUntilUs = 0;
  #ended = false;

  /** `notBeforeUs`: when the other end can have been given to its owner. */
  constructor(from: StreamEnd, to: StreamEnd, link: Link, random: SimulatedRandom, notBeforeUs: number) {
    this.#from = from;
    this.#to = to;
    this.#link = link;
    this.#random = random;
    this.#lastArrivalUs = notBeforeUs;
  }

  get bufferedBytes(): number {
    return this.#outgoingBytes;
  }

  /** Nothing is on its way. */
  get isIdle(): boolean {
    return this.#outgoingBytes === 0 && this.#inFlight.length === 0;
  }

  /** False while more is waiting than the high-water mark. */
  send(buffers: readonly Uint8Array[], sent?: () => void): boolean {
    for (const buffer of buffers) {
      this.#outgoing.push(buffer);
      this.#outgoingBytes += buffer.byteLength;
    }
    if (sent !== undefined) this.#whenSent.push(sent);
    this.#depart();
    if (this.#outgoingBytes < sendBufferBytesMax) return true;
    this.#mustDrain = true;
    return false;
  }

  /** Nothing more is sent. What has departed still arrives, then the other end learns why; or at once, and the rest is lost. */
  end(reason: string, lost: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    if (lost) this.#inFlight.length = 0;
    this.#launch({ bytes: undefined, reason });
  }

  /** What is in flight, and what sets out until then, arrives after this time only. */
  holdUntil(timeUs: number): void {
    this.#heldUntilUs = timeUs;
  }

  /** The sender's machine is dark: what its kernel had not brought onto the wire will never come, nor will an end. */
  losePower(): void {
    const onTheWire = this.#random.below(this.#inFlight.length + 1);
    for (const { bytes } of this.#inFlight.splice(onTheWire)) this.#inFlightBytes -= bytes?.byteLength ?? 0;
  }

  #depart(): void {
    if (this.#departing || this.#ended) return;
    this.#departing = true;
    this.#from.incarnation.after(this.#random.below(departureUsMax), "departure", () => {
      this.#departing = false;
      if (this.#ended || this.#inFlightBytes >= windowBytes || this.#outgoingBytes === 0) return;
      const bytes = Buffer.concat(this.#outgoing);
      this.#outgoing = [];
      this.#outgoingBytes = 0;
      for (const sent of this.#whenSent.splice(0)) sent();
      this.#from.incarnation.scheduler.note(`sent ${bytes.byteLength} ${crc32c(bytes)}`);
      this.#inFlightBytes += bytes.byteLength;
      for (const piece of this.#cut(bytes)) this.#launch({ bytes: piece, reason: "" });
      this.#link.sent(bytes.byteLength);
      if (!this.#mustDrain) return;
      this.#mustDrain = false;
      this.#from.drained();
    });
  }

  #cut(bytes: Uint8Array): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let cuts = this.#random.chance(0.7) ? 0 : this.#random.between(1, 4);
    let from = 0;
    for (; cuts > 0 && bytes.byteLength - from > 1; cuts--) {
      // Cuts close together are as likely as far ones: headers are torn too.
      const most = this.#random.chance(0.3) ? Math.min(16, bytes.byteLength - from) : bytes.byteLength - from;
      const to = from + this.#random.between(1, most);
      pieces.push(bytes.subarray(from, to));
      from = to;
    }
    if (from < bytes.byteLength) pieces.push(bytes.subarray(from));
    return pieces;
  }

  #launch(piece: Piece): void {
    this.#inFlight.push(piece);
    const { nowUs } = this.#to.incarnation.scheduler;
    const transferUs = Math.ceil((piece.bytes?.byteLength ?? 0) / bytesPerUs);
    this.#lastArrivalUs = Math.max(nowUs + this.#link.latencyUs() + transferUs, this.#lastArrivalUs + 1);
    this.#to.incarnation.after(this.#lastArrivalUs - nowUs, "arrival", () => this.#arrive());
  }

  #arrive(): void {
    if (this.#link.cut) {
      // TCP sends again when the link is back.
      this.#link.whenHealed(() => {
        this.#to.incarnation.after(this.#link.retransmitUs(), "late arrival", () => this.#arrive());
      });
      return;
    }
    const heldForUs = this.#heldUntilUs - this.#to.incarnation.scheduler.nowUs;
    if (heldForUs > 0) {
      this.#to.incarnation.after(heldForUs, "late arrival", () => this.#arrive());
      return;
    }
    const piece = this.#inFlight.shift();
    if (piece === undefined) return;
    if (piece.bytes === undefined) {
      this.#to.arrived(undefined, piece.reason);
      return;
    }
    this.#inFlightBytes -= piece.bytes.byteLength;
    this.#to.arrived(piece.bytes, "");
    piece.bytes.fill(poison);
    if (this.#outgoingBytes > 0) this.#depart();
  }
}
