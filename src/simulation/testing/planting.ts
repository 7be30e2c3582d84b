/** Ways to put a bug around the code under test, and to see it found. */
import { strict as assert } from "node:assert";
import type { FileSystem } from "../../client/file-system.ts";
import type { Platform } from "../../platform/platform.ts";
import { writeBlocks } from "../../wire/catalogue/store.ts";
import type { Method } from "../../wire/method.ts";
import type { Handler } from "../../wire/peer.ts";
import { type HandleOptions, Service } from "../../wire/service.ts";
import type { FaultKind, FaultLevel } from "../fault-kinds.ts";
import type { Hooks } from "../hooks.ts";
import { SimulatedRandom } from "../simulated-random.ts";
import { simulate } from "../simulation.ts";
import type { Kind, Weights } from "../workload-kinds.ts";

export interface Search {
  readonly faults?: FaultLevel | Readonly<Partial<Record<FaultKind, number>>>;
  /** A bug that strikes rarely may need some histories until one shows it: several times as many as on the average. */
  readonly seeds?: number;
  /** Where to begin: a bug that strikes very rarely is looked for first where it was seen, and then behind that. */
  readonly firstSeed?: number;
  readonly operations?: number;
  /** Stores come and go for good. */
  readonly members?: boolean;
  /** Placement rules change, and are applied. */
  readonly rules?: boolean;
  /** The ledger has two copies; leaders are lost. */
  readonly copies?: boolean;
  /** Stores are small. */
  readonly full?: boolean;
  /** Few leases may be kept. */
  readonly fewLeases?: boolean;
  /** Quotas come, change and go. */
  readonly quotas?: boolean;
  /** What the applications do more of. */
  readonly more?: readonly Kind[];
  /** What they do, and nothing else: a bug that strikes rarely has a workload of its own, which stays as it is. */
  readonly only?: Weights;
}

export async function mustBeFound(hooks: () => Hooks, expected: RegExp, search: Search = {}): Promise<void> {
  const { faults = "none", seeds = 40, firstSeed = 1, operations = 150, more, only } = search;
  const { members = false, rules = false, copies = false, quotas = false, full = false, fewLeases = false } = search;
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const options = { seed, operations, faults, hooks: hooks(), members, rules, copies, quotas, full, fewLeases };
    const { failure } = await simulate({ ...options, ...(more && { more }), ...(only && { only }) });
    if (failure === undefined) continue;
    assert.match(failure.error.message, expected);
    return;
  }
  assert.fail(`not found with ${seeds} seeds`);
}

/** The object, with some of its methods replaced. */
export function replaced<T extends object>(object: T, methods: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (name in methods) return methods[name as keyof T];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export function withFileSystem(plant: (real: FileSystem, client: string) => Partial<FileSystem>): Hooks {
  return { fileSystem: (client, real) => replaced(real, plant(real, client)) };
}

type AnyHandler = Handler<unknown, unknown>;

/** Handlers of one start of a server, planted ones among them; the real ones can be called by `handlers`. */
export class Planted extends Service {
  readonly handlers = new Map<number, AnyHandler>();
  readonly #plants = new Map<number, (real: AnyHandler) => AnyHandler>();

  plant<Q, R>(method: Method<Q, R>, plant: (real: Handler<Q, R>) => Handler<Q, R>): this {
    this.#plants.set(method.id, plant as unknown as (real: AnyHandler) => AnyHandler);
    return this;
  }

  real<Q, R>(method: Method<Q, R>): Handler<Q, R> {
    return this.handlers.get(method.id) as unknown as Handler<Q, R>;
  }

  override handle<Q, R>(method: Method<Q, R>, handler: Handler<Q, R>, options?: HandleOptions): this {
    const real = handler as unknown as AnyHandler;
    this.handlers.set(method.id, real);
    const planted = this.#plants.get(method.id)?.(real) ?? real;
    return super.handle(method, planted as unknown as Handler<Q, R>, options);
  }
}

/** `plant` is called for each start of each server. */
export function withService(plant: (service: Planted, server: string) => void): Hooks {
  return {
    service(server) {
      const service = new Planted();
      plant(service, server);
      return service;
    },
  };
}

export function withHandler<Q, R>(
  server: string,
  method: Method<Q, R>,
  plant: (real: Handler<Q, R>) => Handler<Q, R>,
): Hooks {
  return withService((service, name) => {
    if (name === server) service.plant(method, plant);
  });
}

/** The clocks of servers, for plants that do something later. */
export function withClocks(): { hooks: Hooks; clockOf(server: string): Platform["clock"] } {
  const clocks = new Map<string, Platform["clock"]>();
  const platform = (host: string, real: Platform): Platform => {
    clocks.set(host, real.clock);
    return real;
  };
  return { hooks: { platform }, clockOf: (server) => clocks.get(server)! };
}

/** A store says of some writes that it has them, and drops them. @param name of the randomness */
export function lostWrites(name: string): () => Hooks {
  const random = new SimulatedRandom(name);
  return () =>
    withHandler(
      "beta",
      writeBlocks,
      (real) =>
        (...call) =>
          random.chance(0.05) ? { failed: [] } : real(...call),
    );
}
