/**
 * Requests that the other side makes on one link: decodes them, calls their handlers, sends the answers.
 *
 * While the other side doesn't take the answers that it asked for, no further handler starts: requests wait, decoded,
 * in order. There is no bound on handlers at work apart from the one that ends the link, because a handler may wait for
 * another request of the same peer (a lease for the giving back of another).
 */
import { CodecError } from "../codec/buffers.ts";
import { decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import type { Logger } from "../platform/logger.ts";
import { failure, failureOf } from "./failure.ts";
import { kindFailure, kindResponse } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";
import type { Link } from "./link.ts";
import type { Payload } from "./method.ts";
import type { Peer } from "./peer.ts";
import type { Registration, Service } from "./service.ts";

/** Unanswered requests that are tolerated; a correct peer has at most a quarter of it, and a few urgent ones. */
const unansweredMax = 4096;
/** Payload of unanswered requests that is tolerated: four times what a correct peer sends. */
const unansweredBytesMax = 256 * 1024 * 1024;

interface IncomingRequest {
  readonly id: number;
  readonly registration: Registration;
  readonly body: unknown;
  readonly payload: Uint8Array;
}

export class IncomingRequests {
  readonly #link: Link;
  readonly #service: Service;
  readonly #logger: Logger;
  readonly #peer: Peer;
  #unanswered = 0;
  #unansweredBytes = 0;
  #waiting: IncomingRequest[] = [];

  constructor(link: Link, service: Service, logger: Logger, peer: Peer) {
    this.#link = link;
    this.#service = service;
    this.#logger = logger;
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
    const request: IncomingRequest = { id: frame.requestId, registration, body, payload: frame.payload };
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
    this.#waiting = [];
  }

  #execute(request: IncomingRequest): void {
    try {
      const outcome = request.registration.handler(request.body, request.payload, this.#peer);
      if (outcome instanceof Promise) {
        outcome.then(
          (value) => this.#respond(request, value),
          (error) => this.#failed(request, error),
        );
      } else this.#respond(request, outcome);
    } catch (error) {
      this.#failed(request, error);
    }
  }

  #respond(request: IncomingRequest, outcome: unknown): void {
    if (this.#link.closed) return;
    const { method } = request.registration;
    const { body, payload } = splitOutcome(outcome);
    const header = { kind: kindResponse, requestId: request.id, methodId: method.id };
    let head: Buffer;
    try {
      head = this.#link.encode(header, (writer) => method.response.write(writer, body), payload);
    } catch (error) {
      this.#failed(request, error);
      return;
    }
    this.#answered(request.payload);
    this.#link.send(head, payload);
  }

  #failed(request: IncomingRequest, error: unknown): void {
    const { id, name } = request.registration.method;
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

/** A handler returns the response's body, or an object of `body` and `payload`. No response has both as fields. */
function splitOutcome(outcome: unknown): { body: unknown; payload: Payload | undefined } {
  if (typeof outcome === "object" && outcome !== null && "payload" in outcome && "body" in outcome) {
    return outcome as { body: unknown; payload: Payload };
  }
  return { body: outcome, payload: undefined };
}
