/**
 * Directory entries, indexed twice: by name for lookups, by cookie for listings. A cookie is given once in the life of
 * its directory, so a listing that goes on behind a cookie neither repeats nor leaves out an entry that was there all
 * the time, whatever comes and goes meanwhile.
 */
import { encode } from "../../codec/schema.ts";
import { cookieKey, cookieOfKey, entryKey, kept, type TableNumber, table, volumePrefix } from "../keys.ts";
import { type EntryRecord, entryRecord, type FileType } from "../model.ts";
import { cookieRow, decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

/** The FUSE layer shows `.` at 1 and `..` at 2. */
export const firstCookie = 3;

export interface ListedEntry {
  readonly name: string;
  readonly inode: number;
  readonly type: FileType;
  readonly cookie: number;
}

export class EntryTable {
  readonly #state: CountedState;

  constructor(state: CountedState) {
    this.#state = state;
  }

  get(volume: number, directory: number, name: string): EntryRecord | undefined {
    const key = entryKey(volume, directory, name);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(entryRecord, row, key);
  }

  /** A new entry, or one that takes the place (and cookie) of another. */
  put(volume: number, directory: number, name: string, entry: EntryRecord): void {
    const { inode, type, cookie } = entry;
    this.#state.put(entryKey(volume, directory, name), encode(entryRecord, entry));
    this.#state.put(cookieKey(volume, directory, cookie), encode(cookieRow, { inode, type, name }));
  }

  delete(volume: number, directory: number, name: string, cookie: number): void {
    this.#state.delete(entryKey(volume, directory, name));
    this.#state.delete(cookieKey(volume, directory, cookie));
  }

  /** The entry with this cookie. */
  at(volume: number, directory: number, cookie: number): { inode: number; name: string } | undefined {
    const key = cookieKey(volume, directory, cookie);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(cookieRow, row, key);
  }

  /** Entries with a cookie above `after`, in the order of cookies. */
  list(volume: number, directory: number, after: number, limit: number): ListedEntry[] {
    const from = kept(cookieKey(volume, directory, after + 1));
    const rows = scanUpTo(this.#state, from, cookieKey(volume, directory + 1, 0), limit);
    return rows.map(([key, row]) => {
      const { inode, type, name } = decodeRow(cookieRow, row, key);
      return { name, inode, type, cookie: cookieOfKey(key) };
    });
  }

  /** Removes up to `limit` rows of a volume's directories; returns their number. */
  removeOfVolume(volume: number, limit: number): number {
    const byName = this.#removeRows(table.entry, volume, limit);
    return byName + this.#removeRows(table.cookie, volume, limit - byName);
  }

  #removeRows(number: TableNumber, volume: number, limit: number): number {
    const rows = scanUpTo(this.#state, volumePrefix(number, volume), volumePrefix(number, volume + 1), limit);
    for (const [key] of rows) this.#state.delete(key);
    return rows.length;
  }
}
