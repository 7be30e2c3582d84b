/**
 * Where a simulated server has its data, and as whom it is known: a store that is lost begins anew in an empty directory, a machine that is
 * lost as another server. What was lost last is set aside, and can be found again until it is forgotten. Nothing of this while the
 * server runs.
 */
import type { SimulatedHost } from "./simulated-platform.ts";

interface Place {
  /** How many were there before. */
  readonly machines: number;
  readonly stores: number;
  /** As its server's own record says (cli/data-directory.ts): a store was made there. */
  readonly hadStore: boolean;
}

export class ServerPlace {
  readonly #host: SimulatedHost;
  #now: Place = { machines: 0, stores: 0, hadStore: false };
  /** Which were made last: what is found again gives its place to nobody, and the cluster knows what had taken it. */
  #lastMachine = 0;
  #lastStore = 0;
  #aside: { readonly what: "store" | "machine"; readonly place: Place } | undefined;

  constructor(host: SimulatedHost) {
    this.#host = host;
  }

  get directory(): string {
    return directoryOf(this.#now);
  }

  get storePath(): string {
    return storePathOf(this.#now);
  }

  get serverId(): string {
    return `server ${nth(this.#host.name, this.#now.machines)}`;
  }

  get hadStore(): boolean {
    return this.#now.hadStore;
  }

  storeIsMade(): void {
    this.#now = { ...this.#now, hadStore: true };
  }

  lose(what: "store" | "machine"): void {
    const place = this.#now;
    this.#aside = { what, place };
    this.#host.medium.lostFolder = pathOf(what, place);
    if (what === "store") {
      this.#lastStore += 1;
      this.#now = { ...place, stores: this.#lastStore };
    } else {
      this.#lastMachine += 1;
      this.#now = { machines: this.#lastMachine, stores: 0, hadStore: false };
    }
  }

  /** What was lost last takes the place of what has begun since. */
  find(): void {
    const { what, place } = this.#aside!;
    this.#remove(what, this.#now);
    this.#now = place;
    this.#endAside();
  }

  /** What was lost last is never found again. */
  forget(): void {
    if (this.#aside !== undefined) this.#remove(this.#aside.what, this.#aside.place);
    this.#endAside();
  }

  #endAside(): void {
    this.#aside = undefined;
    this.#host.medium.lostFolder = undefined;
  }

  #remove(what: "store" | "machine", place: Place): void {
    this.#host.removeFolder(pathOf(what, place));
  }
}

function pathOf(what: "store" | "machine", place: Place): string {
  return what === "store" ? storePathOf(place) : directoryOf(place);
}

function directoryOf({ machines }: Place): string {
  return `/${nth("data", machines)}`;
}

function storePathOf(place: Place): string {
  return `${directoryOf(place)}/${nth("store", place.stores)}`;
}

/** `store`, `store-2`, `store-3` */
function nth(name: string, before: number): string {
  return before === 0 ? name : `${name}-${before + 1}`;
}
