/**
 * Who may have POSIX locks, by inode: close(2) of any descriptor of a file ends all locks that the process has on it
 * (fcntl_locking(2)), and most processes have none, so most closes need not ask for it.
 *
 * Locks of open file descriptions come with the same requests, but end with their description: their owners are dropped
 * here with the file through which they were set.
 */
export class LockOwners {
  /** Owners, each with the open file through which it last set a lock. */
  readonly #byInode = new Map<number, Map<bigint, number>>();

  add(inode: number, owner: bigint, file: number): void {
    const owners = this.#byInode.get(inode);
    if (owners === undefined) this.#byInode.set(inode, new Map([[owner, file]]));
    else owners.set(owner, file);
  }

  hasAny(inode: number): boolean {
    return this.#byInode.has(inode);
  }

  /** Returns whether the owner may have had locks. */
  remove(inode: number, owner: bigint): boolean {
    const owners = this.#byInode.get(inode);
    if (owners === undefined || !owners.delete(owner)) return false;
    if (owners.size === 0) this.#byInode.delete(inode);
    return true;
  }

  closed(inode: number, file: number): void {
    const owners = this.#byInode.get(inode);
    if (owners === undefined) return;
    for (const [owner, last] of owners) if (last === file) this.remove(inode, owner);
  }
}
