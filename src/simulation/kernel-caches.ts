/**
 * What the kernel keeps of a file system's answers: names and attributes, each until a time, and until it is told to forget.
 *
 * An answer may be on its way when the kernel is told to forget. So whoever asks first takes the number of what was
 * forgotten so far, and an answer to a question from before counts for nothing (fs/fuse: `epoch` of dentries, `attr_version`
 * of attributes). Answers that make an inode or change its attributes are taken without looking at that number, as the
 * kernel does: it relies on them being newer than anything before.
 */
import type { Attributes, FileType } from "../client/file-system.ts";

interface CachedName {
  /** Undefined: there is no such name. */
  readonly inode: number | undefined;
  readonly epoch: number;
  readonly validUntilMs: number;
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
  /** When the attributes of each inode were last forgotten. */
  readonly #forgottenAt = new Map<number, number>();
  readonly #types = new Map<number, FileType>();
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
    return cached;
  }

  /** Kept from an answer, valid or not: the kernel then asks without the directory's lock. */
  hasName(directory: number, name: string): boolean {
    return this.#names.has(key(directory, name));
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

  /** One call, no lock (FUSE_NOTIFY_INC_EPOCH). */
  forgetNames(): void {
    this.#epoch += 1;
  }

  attributes(inode: number): Attributes | undefined {
    const cached = this.#attributes.get(inode);
    return cached !== undefined && this.#nowMs() < cached.validUntilMs ? cached.attributes : undefined;
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
    this.#attributes.set(inode, { attributes, validUntilMs: this.#nowMs() + validMs });
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
