/**
 * Pages of mapped files. A page enters with the first access to it, is changed in memory, and its changes reach the file
 * system as one write of the page when it is written back: by msync, before the file is read or written directly, or
 * because the page has to go.
 *
 * A page is locked while its READ or its write-back is unanswered; who drops pages waits for that. Pages that come in
 * behind the one that is being dropped just then stay: dropping goes through a file once, in order.
 */
export const pageBytes = 4096;

export interface PagesDevice {
  readPage(inode: number, page: number): Promise<Uint8Array>;
  writePage(inode: number, page: number, bytes: Uint8Array): Promise<void>;
  /** The file's size as the kernel knows it: what lies behind it is not written. */
  sizeOf(inode: number): number;
}

export function pageRange(page: number): { start: number; end: number } {
  return { start: page * pageBytes, end: (page + 1) * pageBytes };
}

interface Page {
  readonly bytes: Uint8Array;
  dirty: boolean;
}

export class KernelPages {
  readonly #device: PagesDevice;
  /** By inode and number of the page. */
  readonly #files = new Map<number, Map<number, Page>>();
  readonly #locked = new Map<string, Promise<unknown>>();
  /** Files of which a page could not be written: whoever asks next is told. */
  readonly #errors = new Map<number, Error>();

  constructor(device: PagesDevice) {
    this.#device = device;
  }

  /** Bytes of one page, zeros behind the end of the file; undefined if stores have changed the page in memory only. */
  async load(inode: number, offset: number, length: number): Promise<Uint8Array | undefined> {
    const { bytes, dirty } = await this.#page(inode, Math.floor(offset / pageBytes));
    const from = offset % pageBytes;
    return dirty ? undefined : Buffer.from(bytes.subarray(from, from + length));
  }

  /** Changes bytes of one page in memory, unless `mayStore` says no at that moment. */
  async store(inode: number, offset: number, bytes: Uint8Array, mayStore: () => boolean): Promise<boolean> {
    const number = Math.floor(offset / pageBytes);
    for (;;) {
      const page = await this.#page(inode, number);
      const busy = this.#locked.get(key(inode, number));
      if (this.#files.get(inode)?.get(number) !== page) continue;
      if (busy === undefined) {
        if (!mayStore()) return false;
        page.bytes.set(bytes, offset % pageBytes);
        page.dirty = true;
        return true;
      }
      // A page that is being written back is changed after that (page_mkwrite waits).
      await busy.catch(() => {});
    }
  }

  /** Writes the dirty pages of a range back. Throws the newest error of any write-back that nobody was told of. */
  async writeBack(inode: number, start = 0, end = Number.POSITIVE_INFINITY): Promise<void> {
    for (const number of this.#numbers(inode, start, end)) await this.#writeBackPage(inode, number);
    const error = this.#errors.get(inode);
    this.#errors.delete(inode);
    if (error !== undefined) throw error;
  }

  /** Writes the dirty pages of a range back and drops all its pages, one after the other. */
  async drop(inode: number, range = { start: 0, end: Number.POSITIVE_INFINITY }): Promise<void> {
    for (const number of this.#numbers(inode, range.start, range.end)) {
      while (this.#locked.has(key(inode, number)) || this.#files.get(inode)?.get(number)?.dirty) {
        await this.#writeBackPage(inode, number);
      }
      this.#files.get(inode)?.delete(number);
    }
  }

  /** The connection has ended: what was changed and not written back is lost. */
  cut(): void {
    this.#files.clear();
  }

  /** Whether it has pages of the file, or waits for some. */
  has(inode: number): boolean {
    return this.#numbers(inode, 0, Number.POSITIVE_INFINITY).length > 0;
  }

  /** Pages that are present, or on their way. */
  #numbers(inode: number, start: number, end: number): number[] {
    const present = [...(this.#files.get(inode)?.keys() ?? [])];
    const coming = [...this.#locked.keys()]
      .filter((one) => one.startsWith(`${inode}/`))
      .map((one) => Number(one.split("/")[1]));
    return [...new Set([...present, ...coming])]
      .filter((number) => (number + 1) * pageBytes > start && number * pageBytes < end)
      .sort((left, right) => left - right);
  }

  async #page(inode: number, number: number): Promise<Page> {
    for (;;) {
      const busy = this.#locked.get(key(inode, number));
      const present = this.#files.get(inode)?.get(number);
      if (present !== undefined) return present;
      if (busy === undefined) {
        const bytes = await this.#whileLocked(inode, number, () => this.#device.readPage(inode, number));
        const page: Page = { bytes: Buffer.concat([bytes, Buffer.alloc(pageBytes - bytes.byteLength)]), dirty: false };
        const pages = this.#files.get(inode) ?? new Map<number, Page>();
        this.#files.set(inode, pages.set(number, page));
        return page;
      }
      await busy.catch(() => {});
    }
  }

  async #writeBackPage(inode: number, number: number): Promise<void> {
    for (
      let busy = this.#locked.get(key(inode, number));
      busy !== undefined;
      busy = this.#locked.get(key(inode, number))
    ) {
      await busy.catch(() => {});
    }
    const page = this.#files.get(inode)?.get(number);
    if (page === undefined || !page.dirty) return;
    const length = Math.min(pageBytes, this.#device.sizeOf(inode) - number * pageBytes);
    page.dirty = false;
    page.bytes.fill(0, Math.max(0, length));
    if (length <= 0) return;
    const bytes = Buffer.from(page.bytes.subarray(0, length));
    const write = () => this.#device.writePage(inode, number, bytes);
    await this.#whileLocked(inode, number, write).catch((error: Error) => this.#errors.set(inode, error));
  }

  async #whileLocked<T>(inode: number, number: number, body: () => Promise<T>): Promise<T> {
    const done = body();
    this.#locked.set(key(inode, number), done);
    try {
      return await done;
    } finally {
      this.#locked.delete(key(inode, number));
    }
  }
}

function key(inode: number, page: number): string {
  return `${inode}/${page}`;
}
