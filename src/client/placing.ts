/** Files in the groups that placement rules say: what is elsewhere, and moving it, one chunk at a time, while others use it. */
import { chunkBytes } from "../namespace/model.ts";
import { usingContent } from "./data-operations.ts";
import type { MountSession } from "./mount-session.ts";
import type { Soon } from "./soon.ts";
import type { Operation } from "./waits.ts";

/** Runs something as an operation on an inode. */
export type Run = <T>(
  name: string,
  inode: number,
  body: (mount: MountSession, operation: Operation) => Soon<T>,
) => Soon<T>;

/** What of a file is in groups of another pool than it should be. */
export interface Misplaced {
  /** Its next chunks would be, too. */
  readonly isOfOtherPool: boolean;
  readonly indexes: readonly number[];
  readonly bytes: number;
}

export class Placing {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** The pool that the rules say now. @param path in the volume; bytes, as names are */
  poolOf(inode: number, path: string): Soon<number> {
    return this.#run("poolOf", inode, (mount) => mount.placement.poolOfPath(path));
  }

  /** Errors: ENOENT. */
  misplaced(inode: number, pool: number): Soon<Misplaced> {
    return this.#run("misplaced", inode, async (mount, operation) => {
      const node = await mount.leases.use(inode, "shared", operation, "read");
      try {
        const content = mount.contentOf(node);
        const last = Math.ceil(content.size / chunkBytes) - 1;
        if (last >= 0 && !content.map.knows(last)) await content.map.load(last);
        const isElsewhere = ({ chunk }: { chunk: number }) => !mount.placement.isIn(chunk, pool);
        const indexes = content.map
          .mappings(0, last + 1)
          .filter(isElsewhere)
          .map(({ index }) => index);
        const bytes = indexes.reduce((sum, index) => sum + Math.min(chunkBytes, content.size - index * chunkBytes), 0);
        return { isOfOtherPool: content.pool !== pool, indexes, bytes };
      } finally {
        mount.leases.done(node);
      }
    });
  }

  /** Errors: ENOENT. */
  setPool(inode: number, pool: number): Soon<void> {
    return this.#run("setPool", inode, (mount, operation) =>
      usingContent(mount, inode, operation, (node) => mount.contents.relocation.place(mount.contentOf(node), pool)),
    );
  }

  /** Returns the bytes that were copied; undefined if there was nothing to move any more. Errors: ENOENT, ENOSPC, EIO. */
  moveChunk(inode: number, index: number, pool: number): Soon<number | undefined> {
    const isInPlace = (mount: MountSession) => (chunk: number) => mount.placement.isIn(chunk, pool);
    return this.#run("moveChunk", inode, (mount, operation) =>
      usingContent(mount, inode, operation, (node) =>
        mount.contents.relocation.move(mount.contentOf(node), index, pool, isInPlace(mount), operation),
      ),
    );
  }
}
