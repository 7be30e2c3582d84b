/** System calls on names, as the kernel makes them: what it has in its caches it answers itself, under its own locks. */
import type { Attributes, FileSystem, Handle, NewNode } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { KernelCachesModel, Moment } from "./kernel-caches.ts";
import type { KernelDevice } from "./kernel-device.ts";
import type { KernelHandles } from "./kernel-handles.ts";
import type { KernelLocks } from "./kernel-locks.ts";
import { owner } from "./model-operations.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
type Result = { readonly outcome: Outcome; readonly handle?: Handle };

export interface KernelParts {
  readonly fileSystem: FileSystem;
  readonly device: KernelDevice;
  readonly caches: KernelCachesModel;
  readonly locks: KernelLocks;
  readonly handles: KernelHandles;
}

/** What a name stands for. */
type Found = { readonly inode: number | undefined; readonly attributes?: Attributes };

/** As fuse/replies.ts: the shortest time that a kernel can keep attributes is a tick of it, of 10 ms or less. */
const newFileKeptMs = 10;
const sessionLeftMs = 1_000;

const done: Result = { outcome: { kind: "done" } };

export class KernelNames {
  readonly #parts: KernelParts;

  constructor(parts: KernelParts) {
    this.#parts = parts;
  }

  /** stat(2) without the attributes, where the name is cached; else with those that came along. */
  async lookup({ parent, name }: Operation<"lookup">): Promise<Result> {
    const { locks } = this.#parts;
    const found =
      (await this.#known(parent, name)) ?? (await locks.locked(parent, "shared", () => this.#find(parent, name)));
    if (found.inode === undefined) return { outcome: { kind: "absent" } };
    if (found.attributes === undefined) return { outcome: { kind: "found", inode: found.inode } };
    return { outcome: { kind: "attributes", attributes: found.attributes } };
  }

  create(operation: Operation<"create">): Promise<Result> {
    const { parent, name, type, mode, target, open } = operation;
    const { fileSystem, device, caches, locks } = this.#parts;
    return locks.locked(parent, "exclusive", async () => {
      if ((await this.#find(parent, name)).inode !== undefined) throw new FileError("EEXIST");
      const node = { type, mode, ...owner, ...(type === "symlink" && { target }) };
      const asked = this.#parts.caches.moment();
      const serve = async (): Promise<{ attributes: Attributes; handle?: Handle }> =>
        open ? this.#createAndOpen(parent, name, node) : { attributes: await fileSystem.create(parent, name, node) };
      try {
        return await caches.changing({ names: [[parent, name]], inodes: [parent] }, async () => {
          const { attributes, handle, keep } = await device.ask("create", serve, (answer) => ({
            ...answer,
            keep: this.#entryKept(parent, name, answer.attributes, asked, answer.handle ? "isOpened" : "isNew"),
          }));
          keep();
          this.#changed(parent);
          return { outcome: { kind: "attributes", attributes }, ...(handle && { handle }) };
        });
      } catch (error) {
        caches.forgetName(parent, name);
        throw error;
      }
    });
  }

  /** O_TMPFILE (fuse_tmpfile): nothing of the directory changes, so its lock is not taken. */
  async createUnnamed({ parent, mode }: Operation<"createUnnamed">): Promise<Result> {
    const { device } = this.#parts;
    const node = { type: "file", mode, ...owner } as const;
    const serve = () => this.#createAndOpen(parent, undefined, node);
    const { attributes, handle, keep } = await device.ask("tmpfile", serve, (answer) => ({
      ...answer,
      keep: this.#attributesKept(answer.attributes),
    }));
    keep();
    return { outcome: { kind: "attributes", attributes }, handle };
  }

  link({ inode, parent, name }: Operation<"link">): Promise<Result> {
    const { fileSystem, device, caches, locks } = this.#parts;
    return locks.locked(parent, "exclusive", async () => {
      if ((await this.#find(parent, name)).inode !== undefined) throw new FileError("EEXIST");
      return locks.locked(inode, "exclusive", async () => {
        const asked = caches.moment();
        const serve = () => fileSystem.link(inode, parent, name);
        return caches.changing({ names: [[parent, name]], inodes: [parent, inode] }, async () => {
          const { attributes, keep } = await device.ask("link", serve, (answer) => ({
            attributes: answer,
            keep: this.#entryKept(parent, name, answer, asked, "isNew"),
          }));
          keep();
          this.#changed(parent);
          return { outcome: { kind: "attributes", attributes } };
        });
      });
    });
  }

  remove(operation: Operation<"unlink" | "removeDirectory">): Promise<Result> {
    const { kind, parent, name } = operation;
    const { fileSystem, device, caches, locks } = this.#parts;
    return locks.locked(parent, "exclusive", async () => {
      const { inode } = await this.#find(parent, name);
      if (inode === undefined) throw new FileError("ENOENT");
      const isDirectory = caches.type(inode) === "directory";
      if (kind === "unlink" && isDirectory) throw new FileError("EISDIR");
      if (kind === "removeDirectory" && !isDirectory) throw new FileError("ENOTDIR");
      return locks.locked(inode, "exclusive", async () => {
        const serve = () =>
          kind === "unlink" ? fileSystem.unlink(parent, name) : fileSystem.removeDirectory(parent, name);
        return caches.changing({ names: [[parent, name]], inodes: [parent, inode] }, async () => {
          await device.ask(kind, serve, () => {});
          caches.forgetName(parent, name);
          this.#changed(parent, inode);
          return done;
        });
      });
    });
  }

  rename({ parent, name, newParent, newName, noReplace }: Operation<"rename">): Promise<Result> {
    const { fileSystem, device, caches, locks } = this.#parts;
    return locks.bothLocked(parent, newParent, async () => {
      const { inode } = await this.#find(parent, name);
      if (inode === undefined) throw new FileError("ENOENT");
      const { inode: replaced } = await this.#find(newParent, newName);
      if (noReplace && replaced !== undefined) throw new FileError("EEXIST");
      const inodes = [parent, newParent, inode, ...(replaced === undefined ? [] : [replaced])];
      const names = [[parent, name] as const, [newParent, newName] as const];
      const serve = () => fileSystem.rename(parent, name, newParent, newName, { noReplace });
      return this.#filesLocked([inode, replaced], () =>
        caches.changing({ names, inodes }, async () => {
          await device.ask("rename", serve, () => {});
          if (inode !== replaced) caches.moveName(parent, name, newParent, newName);
          this.#changed(...inodes);
          return done;
        }),
      );
    });
  }

  /** As vfs_rename() does it (lock_two_nondirectories). */
  #filesLocked<T>([moved, other]: readonly [number, number | undefined], body: () => Promise<T>): Promise<T> {
    const { caches, locks } = this.#parts;
    const files = [moved, other].filter((one) => one !== undefined && caches.type(one) !== "directory") as number[];
    if (files.length === 0 || moved === other) return body();
    return locks.bothLocked(files[0]!, files.at(-1)!, body);
  }

  exchange({ parent, name, newParent, newName }: Operation<"exchange">): Promise<Result> {
    const { fileSystem, device, caches, locks } = this.#parts;
    return locks.bothLocked(parent, newParent, async () => {
      const [{ inode: one }, { inode: other }] = [await this.#find(parent, name), await this.#find(newParent, newName)];
      if (one === undefined || other === undefined) throw new FileError("ENOENT");
      const inodes = [parent, newParent, one, other];
      const names = [[parent, name] as const, [newParent, newName] as const];
      const serve = () => fileSystem.exchange(parent, name, newParent, newName);
      return this.#filesLocked([one, other], () =>
        caches.changing({ names, inodes }, async () => {
          await device.ask("exchange", serve, () => {});
          caches.exchangeNames(parent, name, newParent, newName);
          this.#changed(...inodes);
          return done;
        }),
      );
    });
  }

  /** All entries; the model's directories fit into one batch, so this is one moment. */
  readDirectory({ inode }: Operation<"readDirectory">, withAttributes: boolean): Promise<Result> {
    const { fileSystem, device, locks, handles } = this.#parts;
    return locks.locked(inode, "shared", async () => {
      const handle = await device.ask(
        "opendir",
        async () => handles.opened(await fileSystem.open(inode, {})),
        (answer) => answer,
      );
      try {
        for (;;) {
          const asked = this.#parts.caches.moment();
          const serve = () => fileSystem.readDirectory(handle, 0, 1_000, withAttributes);
          const { entries, keeps } = await device.ask("readdir", serve, (answer) => ({
            entries: answer,
            keeps: answer.flatMap(({ name, attributes }) =>
              attributes === undefined ? [] : [this.#entryKept(inode, name, attributes, asked)],
            ),
          }));
          for (const keep of keeps) keep();
          const last = entries.at(-1)?.cookie ?? 0;
          const rest = await device.ask(
            "readdir",
            () => fileSystem.readDirectory(handle, last, 1, false),
            (more) => more,
          );
          // Entries that were added meanwhile: what was listed is no single moment.
          if (rest.length > 0) continue;
          return {
            outcome: { kind: "entries", entries: entries.map(({ name, inode: entry }) => ({ name, inode: entry })) },
          };
        }
      } finally {
        if (!device.isCut) handles.close(handle);
      }
    });
  }

  async #createAndOpen(parent: number, name: string | undefined, node: NewNode) {
    const made = await this.#parts.fileSystem.createAndOpen(parent, name, node, {});
    this.#parts.handles.opened(made.handle);
    return made;
  }

  /** From the cache, or asked for. With the directory's lock. */
  async #find(parent: number, name: string): Promise<Found> {
    const known = await this.#known(parent, name);
    if (known !== undefined) return known;
    const { fileSystem, device, caches } = this.#parts;
    const asked = caches.moment();
    const { attributes, keep } = await device.ask(
      "lookup",
      () => fileSystem.lookup(parent, name),
      (answer) => ({
        attributes: answer,
        keep:
          answer === undefined ? this.#absentKept(parent, name, asked) : this.#entryKept(parent, name, answer, asked),
      }),
    );
    keep();
    return attributes === undefined ? { inode: undefined } : { inode: attributes.inode, attributes };
  }

  /** From the cache; an entry whose time is over is asked for again, without the lock. Undefined: it isn't that any more. */
  async #known(parent: number, name: string): Promise<Found | undefined> {
    const { fileSystem, device, caches } = this.#parts;
    const cached = caches.name(parent, name);
    if (cached !== undefined) return { inode: cached.inode };
    const entry = caches.entry(parent, name);
    if (entry?.inode === undefined) return undefined;
    const asked = caches.moment();
    const { attributes, nameValidMs, attributesValidMs } = await device.ask(
      "revalidate",
      () => fileSystem.lookup(parent, name),
      (answer) => ({
        attributes: answer,
        nameValidMs: fileSystem.nameValidMs(parent),
        attributesValidMs: fileSystem.attributesValidMs(entry.inode!),
      }),
    );
    if (attributes?.inode !== entry.inode) {
      if (caches.entry(parent, name) === entry) caches.forgetName(parent, name);
      return undefined;
    }
    caches.renew(entry, nameValidMs, asked);
    caches.keepAttributes(attributes!, attributesValidMs, asked);
    return { inode: entry.inode, attributes: attributes! };
  }

  /**
   * What the reply says of how long it is valid, and its use. The kernel doesn't look at what it was told to forget when an
   * answer makes the entry (`isNew`), and of an inode that it doesn't know yet it can't be told to forget anything. So such
   * answers come without a time for the attributes, but for those of a file that is opened as it is made.
   */
  #entryKept(
    parent: number,
    name: string,
    attributes: Attributes,
    asked: Moment,
    isNew?: "isNew" | "isOpened",
  ): () => void {
    const { fileSystem, caches } = this.#parts;
    const nameValidMs = fileSystem.nameValidMs(parent);
    const isKnown = caches.type(attributes.inode) !== undefined && isNew === undefined;
    const attributesValidMs = isKnown ? fileSystem.attributesValidMs(attributes.inode) : 0;
    const keepAttributes =
      isNew === "isOpened"
        ? this.#attributesKept(attributes)
        : () => caches.keepAttributes(attributes, attributesValidMs, isNew === undefined ? asked : undefined);
    return () => {
      caches.keepName(parent, name, attributes.inode, nameValidMs, asked);
      keepAttributes();
    };
  }

  /** Of a file that is opened as it is made: for a moment, however the kernel was told to forget them meanwhile. */
  #attributesKept(attributes: Attributes): () => void {
    const { fileSystem, caches } = this.#parts;
    const { inode } = attributes;
    const keptMs = fileSystem.attributesValidMs(inode) > sessionLeftMs ? newFileKeptMs : 0;
    caches.arrives(inode);
    return () => {
      caches.keepAttributes(attributes, keptMs, undefined);
      caches.arrived(inode);
    };
  }

  #absentKept(parent: number, name: string, asked: Moment): () => void {
    const nameValidMs = this.#parts.fileSystem.nameValidMs(parent);
    return () => this.#parts.caches.keepName(parent, name, undefined, nameValidMs, asked);
  }

  #changed(...inodes: number[]): void {
    for (const inode of inodes) this.#parts.caches.forgetAttributes(inode);
  }
}
