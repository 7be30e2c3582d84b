/** A connection whose other side is the test. */
import { BrineError } from "../../errors/brine-error.ts";
import type { Method } from "../../wire/method.ts";
import type { Peer, Reply } from "../../wire/peer.ts";

export interface ReceivedRequest {
  readonly name: string;
  readonly body: unknown;
}

type Answer = (name: string, body: never) => unknown;

export class FakePeer implements Peer {
  readonly remote: Peer["remote"];
  readonly localAddress = "leader:1";
  /** Requests that came, oldest first. */
  readonly received: ReceivedRequest[] = [];
  /** What this side answers; a promise that never settles is a side that hangs. */
  answer: Answer;
  #closeReason: string | undefined;
  #callbacks: ((reason: string) => void)[] = [];

  constructor(role: string, answer: Answer = () => ({}), peerId = `${role}-peer`) {
    this.remote = { address: `${role}:1`, peerId, role, description: role };
    this.answer = answer;
  }

  async request<Q, R>(method: Method<Q, R>, body: Q): Promise<Reply<R>> {
    if (this.closed) throw new BrineError("closed", "the fake peer is closed");
    this.received.push({ name: method.name, body });
    const closed = new Promise<never>((_, reject) => {
      this.onClose(() => reject(new BrineError("closed", "the fake peer was closed")));
    });
    const answered = Promise.resolve(this.answer(method.name, body as never));
    return { body: (await Promise.race([answered, closed])) as R, payload: new Uint8Array() };
  }

  /** Bodies of the requests of one method. */
  bodies<B>(name: string): B[] {
    return this.received.filter((request) => request.name === name).map((request) => request.body as B);
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  onClose(callback: (reason: string) => void): void {
    if (this.#closeReason !== undefined) callback(this.#closeReason);
    else this.#callbacks.push(callback);
  }

  close(reason: string): void {
    if (this.closed) return;
    this.#closeReason = reason;
    for (const callback of this.#callbacks.splice(0)) callback(reason);
  }
}
