/** A mount of the twin: the client's face over its server, call by call. */
import type {
  Allocation,
  AttributeChange,
  Attributes,
  DirectoryEntry,
  FileSystem,
  Handle,
  KernelCaches,
  LockRange,
  NewNode,
  OpenFlags,
  RangeCopy,
  VolumeSpace,
} from "../../client/file-system.ts";
import type { ErrnoName } from "../../errors/errno.ts";
import { FileError } from "../../errors/file-error.ts";
import type { FileOperation, Outcome } from "../file-operation.ts";
import { decodedList, encodedList, type ListKind, listNames } from "../model-access-lists.ts";
import type { TwinServer } from "./twin-server.ts";

const validMs = 5_000;

interface TwinHandle extends Handle {
  readonly append: boolean;
}

export class TwinMount implements FileSystem {
  readonly #server: TwinServer;
  readonly #name: string;
  caches: KernelCaches | undefined;
  readonly #death = Promise.withResolvers<void>();

  constructor(server: TwinServer, name: string) {
    this.#server = server;
    this.#name = name;
  }

  /** Resolves when the mount's process is gone. */
  get death(): Promise<void> {
    return this.#death.promise;
  }

  die(): void {
    this.#death.resolve();
  }

  get root(): number {
    return this.#server.root;
  }

  allocate({ inode }: Handle, { offset, length, zero, grow }: Allocation): Promise<void> {
    return this.#done({ kind: "allocate", inode, offset, length, zero, grow });
  }

  async copyRange({ from, offset, to, toOffset, length }: RangeCopy): Promise<number> {
    const asked = { kind: "copyRange", inode: to.inode, source: from.inode, sourceOffset: offset } as const;
    const outcome = await this.#ask({ ...asked, offset: toOffset, length });
    return (outcome as { length: number }).length;
  }

  /** Nobody asks the twin for it. */
  async seek(): Promise<number> {
    throw new FileError("EOPNOTSUPP");
  }

  attach(caches: KernelCaches): void {
    this.caches = caches;
  }

  nameValidMs(directory: number): number {
    return this.#server.holds(this.#name, directory, "shared") ? validMs : 0;
  }

  attributesValidMs(inode: number): number {
    return this.#server.holds(this.#name, inode, "shared") ? validMs : 0;
  }

  async lookup(parent: number, name: string): Promise<Attributes | undefined> {
    const outcome = await this.#server.perform(this.#name, { kind: "lookup", parent, name });
    return outcome.kind === "absent" ? undefined : attributes(outcome);
  }

  async getAttributes(inode: number): Promise<{ attributes: Attributes; parent: number }> {
    return { attributes: await this.#attributes({ kind: "getAttributes", inode }), parent: 0 };
  }

  setAttributes(inode: number, change: AttributeChange): Promise<Attributes> {
    const { mode, uid, gid, size } = change;
    const given = Object.entries({ mode, uid, gid, size }).filter(([, value]) => value !== undefined);
    return this.#attributes({ kind: "setAttributes", inode, change: Object.fromEntries(given) });
  }

  create(parent: number, name: string, node: NewNode): Promise<Attributes> {
    const { type, mode, target = "" } = node;
    return this.#attributes({ kind: "create", parent, name, type, mode, target, open: false });
  }

  async createAndOpen(
    parent: number,
    name: string | undefined,
    node: NewNode,
    flags: OpenFlags,
  ): Promise<{ attributes: Attributes; handle: Handle }> {
    const { type, mode, target = "" } = node;
    const made = await this.#attributes(
      name === undefined
        ? { kind: "createUnnamed", parent, mode }
        : { kind: "create", parent, name, type, mode, target, open: true },
    );
    return { attributes: made, handle: handleOf(made.inode, flags) };
  }

  link(inode: number, parent: number, name: string): Promise<Attributes> {
    return this.#attributes({ kind: "link", inode, parent, name });
  }

  unlink(parent: number, name: string): Promise<void> {
    return this.#done({ kind: "unlink", parent, name });
  }

  removeDirectory(parent: number, name: string): Promise<void> {
    return this.#done({ kind: "removeDirectory", parent, name });
  }

  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
  ): Promise<void> {
    return this.#done({ kind: "rename", parent, name, newParent, newName, noReplace: flags.noReplace });
  }

  exchange(parent: number, name: string, newParent: number, newName: string): Promise<void> {
    return this.#done({ kind: "exchange", parent, name, newParent, newName });
  }

  async readLink(inode: number): Promise<string> {
    const outcome = await this.#ask({ kind: "readLink", inode });
    return (outcome as { target: string }).target;
  }

  async open(inode: number, flags: OpenFlags): Promise<Handle> {
    const { truncate = false, append = false } = flags;
    await this.#done({ kind: "open", inode, truncate, append });
    return handleOf(inode, flags);
  }

  flush(): void {}

  close(handle: Handle): void {
    void this.#server.perform(this.#name, { kind: "close", inode: handle.inode });
  }

  async read(handle: Handle, offset: number, length: number): Promise<readonly Uint8Array[]> {
    const outcome = await this.#ask({ kind: "read", inode: handle.inode, offset, length });
    return [(outcome as { bytes: Uint8Array }).bytes];
  }

  async write(handle: Handle, offset: number, data: Uint8Array): Promise<number> {
    const { inode, append } = handle as TwinHandle;
    const wrong = append && this.#server.strikes("append at the kernel's offset");
    const asked = { kind: "write", inode, offset: append && !wrong ? undefined : offset } as const;
    await this.#ask({ ...asked, length: data.byteLength, tag: this.#server.keep(data) });
    return data.byteLength;
  }

  sync(handle: Handle): Promise<void> {
    return this.#server.sync(this.#name, handle.inode === this.root ? undefined : handle.inode);
  }

  async readDirectory(handle: Handle, after: number): Promise<readonly DirectoryEntry[]> {
    if (after > 0) return [];
    const outcome = await this.#ask({ kind: "readDirectory", inode: handle.inode });
    const { entries } = outcome as Extract<Outcome, { kind: "entries" }>;
    return entries.map((entry, index) => ({ ...entry, type: "file", cookie: index + 1, attributes: undefined }));
  }

  async statVolume(): Promise<VolumeSpace> {
    return { totalBytes: 0, freeBytes: 0, inodeCount: 0, freeInodes: undefined };
  }

  async getExtendedAttribute(inode: number, name: string): Promise<Uint8Array> {
    if (name === listNames.access || name === listNames.default) {
      const which = name === listNames.access ? "access" : "default";
      return encodedList(((await this.#ask({ kind: "getAccessList", inode, which })) as { target: string }).target);
    }
    const outcome = await this.#ask({ kind: "getExtended", inode, name });
    return this.#server.kept(Number((outcome as { target: string }).target));
  }

  setExtendedAttribute(
    inode: number,
    name: string,
    value: Uint8Array,
    mode: "set" | "create" | "replace",
  ): Promise<void> {
    return this.#done({ kind: "setExtended", inode, name, mode, tag: this.#server.keep(value) });
  }

  async listExtendedAttributes(inode: number): Promise<readonly string[]> {
    return ((await this.#ask({ kind: "listExtended", inode })) as { names: readonly string[] }).names;
  }

  removeExtendedAttribute(inode: number, name: string): Promise<void> {
    return this.#done({ kind: "removeExtended", inode, name });
  }

  setAccessControlList(inode: number, which: ListKind, list: Uint8Array | undefined): Promise<void> {
    return this.#done({ kind: "setAccessList", inode, which, list: list && decodedList(list) });
  }

  async testLock(): Promise<LockRange | undefined> {
    return undefined;
  }

  async setLock(handle: Handle, lock: LockRange, wait: boolean): Promise<void> {
    const { start, end, mode } = lock;
    const asked = {
      kind: "lock",
      inode: handle.inode,
      owner: Number(lock.owner),
      start: Number(start),
      end: Number(end),
      mode,
      wait: false,
    } as const;
    for (;;) {
      const outcome = await this.#server.perform(this.#name, asked);
      if (outcome.kind !== "failed") return;
      if (!wait) throw new FileError(outcome.errno as ErrnoName);
    }
  }

  unlock(handle: Handle, lock: Pick<LockRange, "kind" | "owner" | "start" | "end">): Promise<void> {
    const range = { start: Number(lock.start), end: Number(lock.end) };
    return this.#done({ kind: "unlock", inode: handle.inode, owner: Number(lock.owner), ...range });
  }

  async unmount(): Promise<void> {
    await this.#server.sync(this.#name, undefined);
  }

  async #ask(operation: FileOperation): Promise<Outcome> {
    const outcome = await this.#server.perform(this.#name, operation);
    if (outcome.kind === "failed") throw new FileError(outcome.errno as ErrnoName);
    return outcome;
  }

  async #attributes(operation: FileOperation): Promise<Attributes> {
    return attributes(await this.#ask(operation));
  }

  async #done(operation: FileOperation): Promise<void> {
    await this.#ask(operation);
  }
}

function attributes(outcome: Outcome): Attributes {
  if (outcome.kind === "failed") throw new FileError(outcome.errno as ErrnoName);
  return (outcome as { attributes: Attributes }).attributes;
}

function handleOf(inode: number, flags: OpenFlags): TwinHandle {
  return { inode, append: flags.append ?? false };
}
