/**
 * What the kernel keeps of a file system's answers: names and attributes, each until a time, and until it is told to forget.
 *
 * An answer may be on its way when the kernel is told to forget. So whoever asks first takes the number of what was
 * forgotten so far, and an answer to a question from before counts for nothing (fs/fuse: `epoch` of dentries, `attr_version`
 * of attributes). Answers that make an inode or change its attributes are taken without looking at that number, as the
 * kernel does: it relies on them being newer than anything before. One of them says that attributes may be kept: CREATE, so the
 * lease must not go before it has been taken (`settled`).
 *
 * Left out: between the moment in which a change takes effect and the one in which its caller in the kernel gets the answer,
 * other callers on this machine may see it by what they ask for, and not see it by what is kept. Here nobody is answered from
 * what is kept of something that is being changed.
 */
import type { Attributes, FileType } from "../client/file-system.ts";

/** An entry of a directory (dentry). A rename moves it; questions about it that are under way then are about it still. */
export interface CachedName {
  /** Undefined: there is no such name. */
  readonly inode: number | undefined;
  epoch: number;
  validUntilMs: number;
}

interface CachedAttributes {
  readonly attributes: Attributes;
  readonly validUntilMs: number;
}

/** Numbers that were current when a question was asked. */
export interface Moment {
  readonly epoch: number;
  readonly version: number;
}

export class KernelCachesModel {
  readonly #nowMs: () => number;
  readonly #names = new Map<string, CachedName>();
  readonly #attributes = new Map<number, CachedAttributes>();
  /** When the attributes of each inode were last forgotten or learnt: older answers count for nothing. */
  readonly #forgottenAt = new Map<number, number>();
  readonly #types = new Map<number, FileType>();
  /** The newest size that the kernel has heard of, valid or not (i_size). */
  readonly #sizes = new Map<number, number>();
  /** Names and inodes that are being changed, with the number of changes under way. */
  readonly #changing = new Map<string | number, number>();
  /** Inodes whose CREATE was answered and not yet taken. */
  readonly #arriving = new Map<number, PromiseWithResolvers<void>>();
  #epoch = 1;
  #version = 1;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  moment(): Moment {
    return { epoch: this.#epoch, version: this.#version };
  }

  /** Undefined: it has to be asked for. */
  name(directory: number, name: string): { readonly inode: number | undefined } | undefined {
    const cached = this.#names.get(key(directory, name));
    if (cached === undefined || cached.epoch !== this.#epoch || this.#nowMs() >= cached.validUntilMs) return undefined;
    return this.#changing.has(key(directory, name)) ? undefined : cached;
  }

  /** Runs a change of these names and inodes. */
  async changing<T>(
    changed: { readonly names?: readonly (readonly [number, string])[]; readonly inodes: readonly number[] },
    body: () => Promise<T>,
  ): Promise<T> {
    const keys = [...(changed.names ?? []).map(([directory, name]) => key(directory, name)), ...changed.inodes];
    const count = (by: number) => {
      for (const one of keys) {
        const left = (this.#changing.get(one) ?? 0) + by;
        if (left === 0) this.#changing.delete(one);
        else this.#changing.set(one, left);
      }
    };
    count(1);
    try {
      return await body();
    } finally {
      count(-1);
    }
  }

  /** What was kept, valid or not. */
  entry(directory: number, name: string): CachedName | undefined {
    return this.#names.get(key(directory, name));
  }

  /** The entry was asked for again, and is what it was. */
  renew(entry: CachedName, validMs: number, asked: Moment): void {
    entry.epoch = asked.epoch;
    entry.validUntilMs = this.#nowMs() + validMs;
  }

  keepName(directory: number, name: string, inode: number | undefined, validMs: number, asked: Moment): void {
    const entry = { inode, epoch: asked.epoch, validUntilMs: this.#nowMs() + validMs };
    this.#names.set(key(directory, name), entry);
  }

  forgetName(directory: number, name: string): void {
    this.#names.delete(key(directory, name));
  }

  /** A rename moves what is kept, with its time. */
  moveName(directory: number, name: string, newDirectory: number, newName: string): void {
    const moved = this.#names.get(key(directory, name));
    this.#names.delete(key(directory, name));
    if (moved !== undefined) this.#names.set(key(newDirectory, newName), moved);
    else this.#names.delete(key(newDirectory, newName));
  }

  exchangeNames(directory: number, name: string, newDirectory: number, newName: string): void {
    const [one, other] = [key(directory, name), key(newDirectory, newName)];
    const [known, otherKnown] = [this.#names.get(one), this.#names.get(other)];
    this.#names.delete(one);
    this.#names.delete(other);
    if (otherKnown !== undefined) this.#names.set(one, otherKnown);
    if (known !== undefined) this.#names.set(other, known);
  }

  /** One call, no lock (FUSE_NOTIFY_INC_EPOCH). */
  forgetNames(): void {
    this.#epoch += 1;
  }

  attributes(inode: number): Attributes | undefined {
    const cached = this.#attributes.get(inode);
    const isValid = cached !== undefined && this.#nowMs() < cached.validUntilMs && !this.#changing.has(inode);
    return isValid ? cached.attributes : undefined;
  }

  /** What an inode is never changes. */
  type(inode: number): FileType | undefined {
    return this.#types.get(inode);
  }

  /** `asked` is undefined for answers that the kernel takes for newer than everything. */
  keepAttributes(attributes: Attributes, validMs: number, asked: Moment | undefined): void {
    const { inode, type } = attributes;
    this.#types.set(inode, type);
    if (asked !== undefined && (this.#forgottenAt.get(inode) ?? 0) > asked.version) return;
    this.#version += 1;
    this.#forgottenAt.set(inode, this.#version);
    this.#attributes.set(inode, { attributes, validUntilMs: this.#nowMs() + validMs });
    this.#sizes.set(inode, attributes.size);
  }

  /** A CREATE was answered. */
  arrives(inode: number): void {
    this.#arriving.set(inode, Promise.withResolvers());
  }

  /** The answer has been taken. */
  arrived(inode: number): void {
    this.#arriving.get(inode)?.resolve();
    this.#arriving.delete(inode);
  }

  /** Resolves when the answer with which the inode was made has been taken. */
  settled(inode: number): Promise<void> | undefined {
    return this.#arriving.get(inode)?.promise;
  }

  size(inode: number): number {
    return this.#sizes.get(inode) ?? 0;
  }

  /** It counts as enormous until an answer tells it. */
  forgetSize(inode: number): void {
    this.#sizes.set(inode, Number.MAX_SAFE_INTEGER);
  }

  /** Data up to `end` was written. */
  written(inode: number, end: number): void {
    this.#sizes.set(inode, Math.max(this.size(inode), end));
  }

  forgetAttributes(inode: number): void {
    this.#version += 1;
    this.#forgottenAt.set(inode, this.#version);
    this.#attributes.delete(inode);
  }
}

function key(directory: number, name: string): string {
  return `${directory}/${name}`;
}
