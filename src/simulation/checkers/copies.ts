/**
 * The fewest copies with which a volume takes writes: when the leader is asked to commit that a file has a new chunk, a write to it (or
 * its making as a clone) has been acknowledged by as many stores, in one generation of its group. What counts is the lowest minimum that
 * was in force since that write began.
 *
 * It sees what stores have acknowledged and what the leader is asked, not what clients believe.
 */
import { groupOfChunk, type Mapping } from "../../namespace/model.ts";
import type { Operation } from "../../namespace/operation.ts";
import { transact } from "../../wire/catalogue/leader.ts";
import { cloneChunk, writeBlocks } from "../../wire/catalogue/store.ts";
import type { Method } from "../../wire/method.ts";
import type { Handler } from "../../wire/peer.ts";
import type { HandleOptions, Service } from "../../wire/service.ts";
import { Violation } from "./violation.ts";

/** One write as stores got it. */
interface Acknowledged {
  readonly beganUs: number;
  readonly stores: Map<number, Set<string>>;
}

export class CopiesWatch {
  readonly #nowUs: () => number;
  /** The minimum from a time on, as what is surely in force. */
  readonly #minimums = [{ fromUs: 0, inSyncMin: 1 }];
  /** Of chunks that are not mapped yet: their writes. */
  readonly #chunks = new Map<number, Map<string, Acknowledged>>();
  #violation: Violation | undefined;

  constructor(nowUs: () => number) {
    this.#nowUs = nowUs;
  }

  /** Looks at what the server answers. */
  observe(server: string, service: Service): Service {
    const handle = service.handle.bind(service);
    service.handle = <Q, R>(method: Method<Q, R>, handler: Handler<Q, R>, options?: HandleOptions) =>
      handle(method, this.#watched(server, method, handler as never) as never, options);
    return service;
  }

  /** Asked for, and not answered: either may be in force. */
  asked(inSyncMin: number): void {
    if (inSyncMin < this.#minimum) this.#minimums.push({ fromUs: this.#nowUs(), inSyncMin });
  }

  /** What surely is in force from now on. */
  set(inSyncMin: number): void {
    this.#minimums.push({ fromUs: this.#nowUs(), inSyncMin });
  }

  /** Throws Violation. */
  look(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  get #minimum(): number {
    return this.#minimums.at(-1)!.inSyncMin;
  }

  #watched(server: string, method: { readonly id: number }, handler: Handler<never, unknown>): unknown {
    if (method.id === writeBlocks.id) return this.#watchedWrite(server, handler as never);
    if (method.id === cloneChunk.id) return this.#watchedClone(server, handler as never);
    if (method.id === transact.id) return this.#watchedTransact(handler as never);
    return handler;
  }

  #watchedWrite(server: string, real: HandlerOf<typeof writeBlocks>): HandlerOf<typeof writeBlocks> {
    return async (body, ...rest) => {
      const writes = body.parts.map(({ chunk, firstBlock, version: { grant, sequence } }) =>
        this.#write(chunk, `${firstBlock} ${grant} ${sequence}`),
      );
      const answer = await real(body, ...rest);
      const failed = "failed" in answer ? answer.failed.map(({ part }) => part) : [];
      for (const [part, write] of writes.entries())
        if (!failed.includes(part)) acknowledge(write, body.generation, server);
      return answer;
    };
  }

  #watchedClone(server: string, real: HandlerOf<typeof cloneChunk>): HandlerOf<typeof cloneChunk> {
    return async (body, ...rest) => {
      const write = this.#write(body.chunk, `clone of ${body.source}`);
      const answer = await real(body, ...rest);
      acknowledge(write, body.generation, server);
      return answer;
    };
  }

  #watchedTransact(real: HandlerOf<typeof transact>): HandlerOf<typeof transact> {
    return (body, ...rest) => {
      for (const { operation } of body.transactions)
        for (const { chunk } of mappingsOf(operation)) this.#judge(chunk, body.session);
      return real(body, ...rest);
    };
  }

  #write(chunk: number, name: string): Acknowledged {
    let writes = this.#chunks.get(chunk);
    if (writes === undefined) {
      writes = new Map();
      this.#chunks.set(chunk, writes);
    }
    const write = writes.get(name) ?? { beganUs: this.#nowUs(), stores: new Map() };
    writes.set(name, write);
    return write;
  }

  #judge(chunk: number, session: number): void {
    const writes = this.#chunks.get(chunk);
    if (writes === undefined) return;
    this.#chunks.delete(chunk);
    const isEnough = ({ beganUs, stores }: Acknowledged) =>
      [...stores.values()].some(({ size }) => size >= this.#minimumSince(beganUs));
    if ([...writes.values()].some(isEnough)) return;
    const found = [...writes].map(([name, { stores }]) => `${name}: ${[...stores].map(copiesText).join(", ")}`);
    this.#violation ??= new Violation(
      "no write is done with fewer copies than the volume wants",
      `session ${session} maps chunk ${chunk} of group ${groupOfChunk(chunk)}, of which there are ${found.join("; ")}`,
    );
  }

  /** The lowest that was in force at any time since then. */
  #minimumSince(fromUs: number): number {
    const before = this.#minimums.findLastIndex((one) => one.fromUs <= fromUs);
    return Math.min(...this.#minimums.slice(Math.max(0, before)).map(({ inSyncMin }) => inSyncMin));
  }
}

type HandlerOf<M> = M extends Method<infer Q, infer R> ? Handler<Q, R> : never;

function acknowledge({ stores }: Acknowledged, generation: number, server: string): void {
  stores.set(generation, (stores.get(generation) ?? new Set()).add(server));
}

function mappingsOf(operation: Operation): readonly Mapping[] {
  return "mappings" in operation ? operation.mappings : [];
}

function copiesText([generation, stores]: [number, ReadonlySet<string>]): string {
  return `generation ${generation} on ${[...stores].join(" and ")}`;
}
