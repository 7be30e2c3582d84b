/** How a directory is gone through here: counts that tell what will be wanted next. */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { ChangesInRow } from "./leases-ahead.ts";
import { FilesInRow } from "./next-files.ts";

export class DirectoryUse {
  /**
   * Names that were looked up since a page was fetched ahead: at hand, asked for, and of these the ones that are there. `foundInAll`: at
   * hand ever since. See listing.ts.
   */
  readonly lookups = { found: 0, asked: 0, there: 0, foundInAll: 0 };
  /** Entries that were looked up, or removed, while their leases were elsewhere: see siblings.ts. */
  readonly lackedInRow: Record<LeaseMode, number> = { shared: 0, exclusive: 0, split: 0 };
  /** Files that were read: see next-files.ts. */
  readonly files = new FilesInRow();
  /** Entries that were changed: see leases-ahead.ts. */
  readonly changes = new ChangesInRow();
}
