/**
 * Paths of directories, for placement rules: found in what is cached under leases, without a request.
 *
 * A directory that is at hand under a lease has in its record which entry of which directory it is, and that is true as long as the
 * lease stands. The name of the entry is there if the directory above is at hand too. What isn't is asked of the leader, who knows
 * what is committed, and is believed for a second: so a directory that another client renames counts by its new name after
 * that at the latest.
 */
import { FileError } from "../errors/file-error.ts";
import type { Clock } from "../platform/clock.ts";
import { readPath } from "../wire/catalogue/leader.ts";
import type { Leases } from "./leases.ts";
import type { Session } from "./session.ts";
import type { Soon } from "./soon.ts";
import type { Operation } from "./waits.ts";

const believedMs = 1_000;
/** More are forgotten at once. */
const knownMax = 65_536;
/** Deeper ones don't fit into a path of PATH_MAX bytes. */
const depthMax = 4_096;

/** An answer brings all directories above; others are asked for only if names change meanwhile. */
const asksMax = 16;

/** Which entry a directory is. */
interface Place {
  readonly parent: number;
  readonly cookie: number;
  readonly name: string;
  readonly askedMs: number;
}

export class DirectoryPaths {
  readonly #session: Session;
  readonly #leases: Leases;
  readonly #clock: Clock;
  readonly #places = new Map<number, Place>();

  constructor(session: Session, leases: Leases, clock: Clock) {
    this.#session = session;
    this.#leases = leases;
    this.#clock = clock;
  }

  /** From the volume's root on: `/`, `/a/b`. A directory without a name is at `/`. */
  pathOf(directory: number, operation: Operation): Soon<string> {
    const found = this.#find(directory);
    return typeof found === "string" ? found : this.#ask(directory, found, operation);
  }

  async #ask(directory: number, unknown: number, operation: Operation): Promise<string> {
    let missing = unknown;
    for (let asked = 0; asked < asksMax; asked++) {
      await this.#learn(missing, operation);
      operation.check();
      const found = this.#find(directory);
      if (typeof found === "string") return found;
      missing = found;
    }
    return "/";
  }

  /** The path, or the first directory above that is not known. */
  #find(directory: number): string | number {
    const { root } = this.#session.volume;
    const names: string[] = [];
    for (let at = directory; at !== root && names.length < depthMax; ) {
      const place = this.#placeOf(at);
      if (place === undefined) return at;
      if (place.name === "") return "/";
      names.push(place.name);
      at = place.parent;
    }
    return `/${names.reverse().join("/")}`;
  }

  #placeOf(directory: number): Pick<Place, "parent" | "name"> | undefined {
    const known = this.#places.get(directory);
    const node = this.#leases.held(directory, "shared");
    if (node === undefined) {
      return known !== undefined && this.#clock.nowMs() - known.askedMs < believedMs ? known : undefined;
    }
    const { parent, parentCookie } = node.record;
    if (known?.parent === parent && known.cookie === parentCookie) return known;
    const name = this.#leases.get(parent)?.names?.nameAt(parentCookie);
    if (name === undefined) return undefined;
    return this.#keep(directory, { parent, cookie: parentCookie, name, askedMs: Number.NEGATIVE_INFINITY });
  }

  async #learn(directory: number, operation: Operation): Promise<void> {
    const askedMs = this.#clock.nowMs();
    try {
      const { steps } = await this.#session.request(
        readPath,
        { session: this.#session.id, inode: directory },
        operation,
      );
      for (const { inode, ...place } of steps) this.#keep(inode, { ...place, askedMs });
      if (steps[0]?.inode === directory) return;
    } catch (error) {
      if (!(error instanceof FileError) || error.code !== "ENOENT") throw error;
    }
    // It has lost its name, or was never told of: nothing is made in it for long.
    const { parent = 0, parentCookie = 0 } = this.#leases.get(directory)?.record ?? {};
    this.#keep(directory, { parent, cookie: parentCookie, name: "", askedMs });
  }

  #keep(directory: number, place: Place): Place {
    if (this.#places.size >= knownMax) this.#places.clear();
    this.#places.set(directory, place);
    return place;
  }
}
