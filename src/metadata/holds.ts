/**
 * Which inodes of a volume are open in sessions that have no lease on them: an inode without a name stays as long as anyone
 * has it open. The leader's memory only; clients state their holds after a restart.
 */
export class Holds {
  /** Sessions of each held inode; nearly always one. */
  readonly #sessions = new Map<number, Set<number>>();
  readonly #inodes = new Map<number, Set<number>>();

  /** False if the session had it already. */
  add(session: number, inode: number): boolean {
    const inodes = setOf(this.#inodes, session);
    if (inodes.has(inode)) return false;
    inodes.add(inode);
    setOf(this.#sessions, inode).add(session);
    return true;
  }

  remove(session: number, inode: number): void {
    const inodes = this.#inodes.get(session);
    if (inodes === undefined || !inodes.delete(inode)) return;
    if (inodes.size === 0) this.#inodes.delete(session);
    const sessions = this.#sessions.get(inode)!;
    sessions.delete(session);
    if (sessions.size === 0) this.#sessions.delete(inode);
  }

  /** The session has ended. */
  drop(session: number): void {
    for (const inode of this.of(session)) this.remove(session, inode);
  }

  isHeld(inode: number): boolean {
    return this.#sessions.has(inode);
  }

  /** Sessions that have it open. */
  holders(inode: number): number[] {
    return [...(this.#sessions.get(inode) ?? [])];
  }

  of(session: number): number[] {
    return [...(this.#inodes.get(session) ?? [])];
  }

  count(session: number): number {
    return this.#inodes.get(session)?.size ?? 0;
  }
}

function setOf(map: Map<number, Set<number>>, key: number): Set<number> {
  let set = map.get(key);
  if (set === undefined) {
    set = new Set();
    map.set(key, set);
  }
  return set;
}
