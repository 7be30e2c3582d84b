/**
 * Requests that this side makes on one link: those under way, and those that wait for their turn.
 *
 * A request goes out at once if the bounds on what is under way leave room and the link takes bulk; else it waits in
 * order, within its deadline. A request that ran out of time or was aborted after it was sent still counts until its
 * answer comes: the other side is still working on it, and must not be flooded by retries.
 */
import { CodecError } from "../codec/buffers.ts";
import { type Codec, decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Clock } from "../platform/clock.ts";
import { Deadlines } from "./deadlines.ts";
import { errorOf, failure } from "./failure.ts";
import { kindFailure, kindRequest, kindTimedResponse, payloadBytesOf, timeBytes } from "./frame.ts";
import { type Frame, readU32 } from "./frame-parser.ts";
import type { Link } from "./link.ts";
import type { Method } from "./method.ts";
import type { Reply, RequestOptions } from "./peer.ts";
import type { OutgoingMeter } from "./request-metrics.ts";

/** Far more than the kernel gives a mount to do at once; a quarter of what the other side tolerates. */
const inFlightMax = 1024;
/** Payload under way: 64 of the largest writes of FUSE. Several times what fills a 10 Gbit/s link for 10 ms. */
const inFlightBytesMax = 64 * 1024 * 1024;
/** Requests in the queue. Callers have bounds of their own; this one only keeps a defect from eating the memory. */
const waitingMax = 65_536;

interface OutgoingRequest {
  readonly id: number;
  readonly methodId: number;
  readonly methodName: string;
  readonly response: Codec<unknown>;
  readonly resolve: (reply: Reply<never>) => void;
  readonly reject: (error: unknown) => void;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly askedMs: number;
  sentMs: number;
  readonly meter: OutgoingMeter;
  readonly payloadBytes: number;
  /** Header and body; released when sent. */
  head: Uint8Array | undefined;
  payload: readonly Uint8Array[] | undefined;
  /** Its promise is settled. */
  settled: boolean;
  /** Takes the listener off the signal. */
  forgetSignal: (() => void) | undefined;
}

export class OutgoingRequests {
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #remoteName: string;
  readonly #meterOf: (method: string) => OutgoingMeter;
  /** By method id. */
  readonly #meters = new Map<number, OutgoingMeter>();
  readonly #deadlines: Deadlines;
  readonly #inFlight = new Map<number, OutgoingRequest>();
  #inFlightBytes = 0;
  /** In the order in which they go out; settled ones are skipped. The first is at #waitingFrom. */
  #waiting: OutgoingRequest[] = [];
  #waitingFrom = 0;
  #nextId = 1;
  #closeReason: string | undefined;

  /** @param remote its address and id, for messages, and what measures a method to it */
  constructor(link: Link, clock: Clock, remote: { name: string; meter: (method: string) => OutgoingMeter }) {
    this.#link = link;
    this.#clock = clock;
    this.#remoteName = remote.name;
    this.#meterOf = remote.meter;
    this.#deadlines = new Deadlines(clock, (nowMs) => this.#expire(nowMs));
  }

  request<Q, R>(method: Method<Q, R>, body: Q, options: RequestOptions): Promise<Reply<R>> {
    return new Promise((resolve, reject) => {
      if (this.#closeReason !== undefined) throw this.#closedError(method.name);
      options.signal?.throwIfAborted();
      const id = this.#nextId++;
      const header = { kind: kindRequest, requestId: id, methodId: method.id };
      const head = this.#link.encode(header, (writer) => method.request.write(writer, body), options.payload);
      const nowMs = this.#clock.nowMs();
      const request: OutgoingRequest = {
        id,
        methodId: method.id,
        methodName: method.name,
        response: method.response,
        resolve,
        reject,
        timeoutMs: options.timeoutMs,
        deadlineMs: nowMs + options.timeoutMs,
        askedMs: nowMs,
        sentMs: nowMs,
        meter: this.#meter(method),
        payloadBytes: payloadBytesOf(options.payload),
        head,
        payload: options.payload,
        settled: false,
        forgetSignal: undefined,
      };
      if (options.urgent === true || (this.#waitingFrom === this.#waiting.length && this.#hasRoom(request))) {
        this.#send(request);
      } else this.#enqueue(request);
      if (options.signal !== undefined) this.#watchSignal(request, options.signal);
      this.#deadlines.add(nowMs, request.deadlineMs);
    });
  }

  /** A response or failure. Throws CodecError if it answers nothing or can't be decoded. */
  onAnswer(frame: Frame): void {
    const request = this.#inFlight.get(frame.requestId);
    if (request === undefined || request.methodId !== frame.methodId) {
      throw new CodecError(
        `an answer to request ${frame.requestId} of method ${frame.methodId}, which is not under way`,
      );
    }
    this.#inFlight.delete(request.id);
    this.#inFlightBytes -= request.payloadBytes;
    if (!request.settled) this.#answer(request, frame);
    if (this.#waitingFrom < this.#waiting.length) this.pump();
  }

  /** Sends what waits, as far as there is room. */
  pump(): void {
    while (this.#waitingFrom < this.#waiting.length) {
      const request = this.#waiting[this.#waitingFrom]!;
      if (!request.settled) {
        if (!this.#hasRoom(request)) break;
        request.sentMs = this.#clock.nowMs();
        request.meter.queued(request.sentMs - request.askedMs);
        this.#send(request);
      }
      this.#waitingFrom += 1;
    }
    // What was taken off the front is let go when it is most of the array: constant cost for each request.
    if (this.#waitingFrom * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingFrom);
      this.#waitingFrom = 0;
    }
  }

  /** The link has ended: everything fails. */
  end(reason: string): void {
    this.#closeReason = reason;
    this.#deadlines.cancel();
    const unanswered = [...this.#inFlight.values(), ...this.#waiting.slice(this.#waitingFrom)];
    this.#inFlight.clear();
    this.#waiting = [];
    this.#waitingFrom = 0;
    for (const request of unanswered) this.#fail(request, this.#closedError(request.methodName));
  }

  #meter(method: { readonly id: number; readonly name: string }): OutgoingMeter {
    let meter = this.#meters.get(method.id);
    if (meter === undefined) {
      meter = this.#meterOf(method.name);
      this.#meters.set(method.id, meter);
    }
    return meter;
  }

  #hasRoom(request: OutgoingRequest): boolean {
    if (!this.#link.writable || this.#inFlight.size >= inFlightMax) return false;
    return this.#inFlightBytes === 0 || this.#inFlightBytes + request.payloadBytes <= inFlightBytesMax;
  }

  #send(request: OutgoingRequest): void {
    this.#inFlight.set(request.id, request);
    this.#inFlightBytes += request.payloadBytes;
    this.#link.send(request.head!, request.payload);
    request.head = undefined;
    request.payload = undefined;
  }

  #enqueue(request: OutgoingRequest): void {
    if (this.#waiting.length - this.#waitingFrom >= waitingMax) {
      throw new BrineError("busy", `${request.methodName} to ${this.#remoteName}: ${waitingMax} requests wait already`);
    }
    this.#waiting.push(request);
  }

  #answer(request: OutgoingRequest, frame: Frame): void {
    try {
      if (frame.kind === kindFailure) this.#fail(request, errorOf(decode(failure, frame.body)));
      else {
        const body = decode(request.response, this.#takeTime(request, frame)) as never;
        this.#settle(request);
        request.resolve({ body, payload: frame.payload });
      }
    } catch (error) {
      const what = `${request.methodName} to ${this.#remoteName}: the answer can't be decoded`;
      this.#fail(request, new BrineError("protocol", what, { cause: error }));
      throw error;
    }
  }

  /** Notes how long the other side worked on it, if it says so; returns the body. */
  #takeTime(request: OutgoingRequest, { kind, body }: Frame): Uint8Array {
    const isTimed = kind === kindTimedResponse;
    if (isTimed && body.byteLength < timeBytes) throw new CodecError("a response without its time");
    const workMs = isTimed ? readU32(body, 0) / 1000 : 0;
    const diskMs = isTimed ? readU32(body, 4) / 1000 : 0;
    request.meter.answered({ roundTripMs: this.#clock.nowMs() - request.sentMs, workMs, diskMs });
    return isTimed ? body.subarray(timeBytes) : body;
  }

  #watchSignal(request: OutgoingRequest, signal: AbortSignal): void {
    const onAbort = () => this.#fail(request, signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    request.forgetSignal = () => signal.removeEventListener("abort", onAbort);
  }

  /** Fails what is due; returns the earliest deadline of the rest. */
  #expire(nowMs: number): number {
    let nextMs = Number.POSITIVE_INFINITY;
    const look = (request: OutgoingRequest, progress: string) => {
      if (request.settled) return;
      if (request.deadlineMs > nowMs) nextMs = Math.min(nextMs, request.deadlineMs);
      else this.#fail(request, this.#timedOutError(request, progress));
    };
    for (const request of this.#inFlight.values()) look(request, "no answer");
    for (let at = this.#waitingFrom; at < this.#waiting.length; at++) look(this.#waiting[at]!, "no turn to be sent");
    return nextMs;
  }

  #fail(request: OutgoingRequest, error: unknown): void {
    if (request.settled) return;
    this.#settle(request);
    request.meter.failed();
    request.reject(error);
  }

  #settle(request: OutgoingRequest): void {
    request.settled = true;
    request.head = undefined;
    request.payload = undefined;
    request.forgetSignal?.();
    request.forgetSignal = undefined;
  }

  #closedError(methodName: string): BrineError {
    return new BrineError("closed", `${methodName} to ${this.#remoteName}: the connection ended: ${this.#closeReason}`);
  }

  #timedOutError(request: OutgoingRequest, progress: string): BrineError {
    const what = `${request.methodName} to ${this.#remoteName}: ${progress} within ${request.timeoutMs} ms`;
    return new BrineError("timedOut", what);
  }
}
