/**
 * Where the volume says that its files go: its placement rules, which groups belong to which pool, how few members in sync groups
 * take writes with, and which stores operators call slow. Known here, so that a file that
 * is made gets its pool in the moment in which it is made.
 *
 * The leader has them read when a session begins, after each connection, and whenever they change; `brine volume rules` ends
 * when all clients have read what is new, and `brine volume set --in-sync-min` when none is left that doesn't know it.
 */
import { textOf } from "../namespace/byte-strings.ts";
import { groupOfChunk } from "../namespace/model.ts";
import { PathRules } from "../placement/path-rules.ts";
import type { Logger } from "../platform/logger.ts";
import { type PlacementAnswer, readPlacement } from "../wire/catalogue/leader.ts";
import type { DirectoryPaths } from "./directory-paths.ts";
import type { Session } from "./session.ts";
import { type Soon, whenThere } from "./soon.ts";
import type { Operation } from "./waits.ts";

export class Placement {
  readonly #session: Session;
  readonly #log: Logger;
  readonly #paths: DirectoryPaths;
  #rules = new PathRules([]);
  #version = -1;
  #poolsOfGroups: ReadonlyMap<number, number> = new Map();
  /** The last question, and the last one whose answer was taken. */
  #asked = 0;
  #taken = 0;
  /** Whenever it was read. */
  onRead: (answer: PlacementAnswer) => void = () => {};

  constructor(session: Session, log: Logger, paths: DirectoryPaths) {
    this.#session = session;
    this.#log = log;
    this.#paths = paths;
  }

  /** Reads them anew. Errors: EIO (the session has ended). */
  async refresh(): Promise<void> {
    this.#asked += 1;
    const question = this.#asked;
    const answer = await this.#session.request(readPlacement, { session: this.#session.id });
    const { placement, groups } = answer;
    // Of two answers the newer one counts, whichever came last.
    if (placement.version < this.#version || (placement.version === this.#version && question < this.#taken)) return;
    this.#version = placement.version;
    this.#taken = question;
    this.#poolsOfGroups = new Map(groups.map(({ group, pool }) => [group, pool]));
    this.onRead(answer);
    try {
      this.#rules = new PathRules(placement.rules);
    } catch (error) {
      this.#log.error("placement rules are not understood: files go where the volume's go", { reason: String(error) });
      this.#rules = new PathRules([]);
    }
  }

  /** Of a file that is made in a directory now. A promise only if its path has to be asked for. */
  poolOfNew(directory: number, name: string, operation: Operation): Soon<number> {
    if (this.#rules.isEmpty) return 0;
    if (!this.#rules.needsPath) return this.#rules.poolOf(textOf(name));
    return whenThere(this.#paths.pathOf(directory, operation), (path) =>
      this.poolOfPath(`${path === "/" ? "" : path}/${name}`),
    );
  }

  /** @param path in the volume; bytes, as names are */
  poolOfPath(path: string): number {
    return this.#rules.poolOf(textOf(path));
  }

  /** True for a chunk in a group of the pool. */
  isIn(chunk: number, pool: number): boolean {
    return this.#poolsOfGroups.get(groupOfChunk(chunk)) === pool;
  }
}
