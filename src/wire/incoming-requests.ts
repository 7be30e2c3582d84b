/**
 * Requests that the other side makes on one link: decodes them, calls their handlers, sends the answers.
 *
 * While the other side doesn't take the answers that it asked for, no further handler starts: requests wait, decoded,
 * in order. There is no bound on handlers at work apart from the one that ends the link, because a handler may wait for
 * another request of the same peer (a lease for the giving back of another).
 */
import { CodecError, type Writer } from "../codec/buffers.ts";
import { decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { failure, failureOf } from "./failure.ts";
import { kindFailure, kindTimedResponse } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";
import type { Link } from "./link.ts";
import type { Payload } from "./method.ts";
import { requestPayloads, responsePayloads } from "./payload-pool.ts";
import type { Peer, Work } from "./peer.ts";
import { type IncomingMeter, RequestMetrics } from "./request-metrics.ts";
import type { Registration, RequestUnderWay, Service } from "./service.ts";

/** Unanswered requests that are tolerated; a correct peer has at most a quarter of it, and a few urgent ones. */
const unansweredMax = 4096;
/** Payload of unanswered requests that is tolerated: four times what a correct peer sends. */
const unansweredBytesMax = 256 * 1024 * 1024;

/** Largest time that a response can tell: 71 minutes. */
const timeUsMax = 0xffff_ffff;

interface IncomingRequest extends RequestUnderWay, Work {
  readonly id: number;
  readonly payload: Uint8Array;
}

export class IncomingRequests {
  readonly #link: Link;
  readonly #service: Service;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: RequestMetrics;
  /** By method id. */
  readonly #meters = new Map<number, IncomingMeter>();
  readonly #peer: Peer;
  #unanswered = 0;
  #unansweredBytes = 0;
  #waiting: IncomingRequest[] = [];

  constructor(link: Link, service: Service, platform: Platform, peer: Peer) {
    this.#link = link;
    this.#service = service;
    this.#clock = platform.clock;
    this.#logger = platform.logger.for("wire");
    this.#metrics = RequestMetrics.of(platform.metrics);
    this.#peer = peer;
  }

  /** Throws CodecError if the body is none of the method's, or the peer asks for too much at once. */
  onRequest(frame: Frame): void {
    this.#unanswered += 1;
    this.#unansweredBytes += frame.payload.byteLength;
    if (this.#unanswered > unansweredMax || this.#unansweredBytes > unansweredBytesMax) {
      throw new CodecError(`${this.#unanswered} requests with ${this.#unansweredBytes} bytes are unanswered`);
    }
    let registration: Registration;
    try {
      registration = this.#service.find(frame.methodId, this.#peer);
    } catch (error) {
      this.#fail(frame.requestId, frame.methodId, frame.payload, error, `method ${frame.methodId}`);
      return;
    }
    const body = decode(registration.method.request, frame.body);
    const { requestId: id, payload } = frame;
    const arrivedMs = this.#clock.nowMs();
    const request: IncomingRequest = { id, registration, body, payload, peer: this.#peer, arrivedMs, diskMs: 0 };
    this.#service.underWay.add(request);
    if (this.#link.writable && this.#waiting.length === 0) this.#execute(request);
    else this.#waiting.push(request);
  }

  /** Starts the handlers that waited, while the link takes answers. */
  pump(): void {
    let done = 0;
    while (done < this.#waiting.length && this.#link.writable) this.#execute(this.#waiting[done++]!);
    if (done > 0) this.#waiting = this.#waiting.slice(done);
  }

  /** The link has ended: what waits is not begun any more, and answers go nowhere. */
  end(): void {
    for (const request of this.#waiting) this.#service.underWay.delete(request);
    this.#waiting = [];
  }

  #execute(request: IncomingRequest): void {
    try {
      const outcome = request.registration.handler(request.body, request.payload, this.#peer, request);
      if (outcome instanceof Promise) {
        outcome.then(
          (value) => {
            this.#respond(request, value);
            release(request);
          },
          (error) => {
            this.#failed(request, error);
            release(request);
          },
        );
        return;
      }
      this.#respond(request, outcome);
    } catch (error) {
      this.#failed(request, error);
    }
    release(request);
  }

  #respond(request: IncomingRequest, outcome: unknown): void {
    if (this.#link.closed) {
      this.#service.underWay.delete(request);
      return;
    }
    const { method, lendsPayload } = request.registration;
    const { body, payload } = splitOutcome(outcome);
    const header = { kind: kindTimedResponse, requestId: request.id, methodId: method.id };
    const workMs = this.#clock.nowMs() - request.arrivedMs;
    let head: Buffer;
    try {
      const write = (writer: Writer) => {
        writer.u32(microseconds(workMs));
        writer.u32(microseconds(request.diskMs));
        method.response.write(writer, body);
      };
      head = this.#link.encode(header, write, payload);
    } catch (error) {
      this.#failed(request, error);
      return;
    }
    this.#service.underWay.delete(request);
    this.#meter(method).answered(workMs, request.diskMs);
    this.#answered(request.payload);
    this.#link.send(
      head,
      payload,
      lendsPayload === true && payload !== undefined ? () => takeBack(payload) : undefined,
    );
  }

  #meter(method: { readonly id: number; readonly name: string }): IncomingMeter {
    let meter = this.#meters.get(method.id);
    if (meter === undefined) {
      meter = this.#metrics.incoming(method.name, this.#peer.remote);
      this.#meters.set(method.id, meter);
    }
    return meter;
  }

  #failed(request: IncomingRequest, error: unknown): void {
    const { id, name } = request.registration.method;
    this.#service.underWay.delete(request);
    this.#meter(request.registration.method).failed(codeOf(error));
    this.#fail(request.id, id, request.payload, error, name);
  }

  #fail(requestId: number, methodId: number, payload: Uint8Array, error: unknown, what: string): void {
    if (!(error instanceof BrineError || error instanceof FileError)) {
      const stack = error instanceof Error ? error.stack : String(error);
      this.#logger.error("request failed unexpectedly", {
        method: what,
        remote: this.#peer.remote.address,
        error: stack,
      });
    }
    if (this.#link.closed) return;
    this.#answered(payload);
    const header = { kind: kindFailure, requestId, methodId };
    const told = failureOf(error, what);
    this.#link.send(
      this.#link.encode(header, (writer) => failure.write(writer, told), undefined),
      undefined,
    );
  }

  #answered(payload: Uint8Array): void {
    this.#unanswered -= 1;
    this.#unansweredBytes -= payload.byteLength;
  }
}

function microseconds(ms: number): number {
  return Math.min(timeUsMax, Math.max(0, Math.round(ms * 1000)));
}

function codeOf(error: unknown): string {
  return error instanceof BrineError || error instanceof FileError ? error.code : "internal";
}

function release({ registration, payload }: IncomingRequest): void {
  if (registration.releasesPayload) requestPayloads.giveBack(payload);
}

function takeBack(payload: Payload): void {
  for (const part of payload) responsePayloads.giveBack(part);
}

/** A handler returns the response's body, or an object of `body` and `payload`. No response has both as fields. */
function splitOutcome(outcome: unknown): { body: unknown; payload: Payload | undefined } {
  if (typeof outcome === "object" && outcome !== null && "payload" in outcome && "body" in outcome) {
    return outcome as { body: unknown; payload: Payload };
  }
  return { body: outcome, payload: undefined };
}
