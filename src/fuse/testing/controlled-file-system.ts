/**
 * A memory file system that tests steer while the kernel uses it: changes behind the kernel's back, answers that are
 * held, calls that are counted.
 */
import type { Attributes } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { MemoryFileSystem } from "./memory-file-system.ts";

/** fsync of a file of this size takes half a second, as writes behind 2^41 do; of one byte more, until it is aborted. */
const slowSyncBytes = 1234;
const slowSyncMs = 500;

/** Methods whose answers can be held. */
export type HeldMethod = "read" | "write" | "createAndOpen" | "getAttributes" | "lookup" | "setAttributes";

/** What a test asks for, as a line of JSON. Paths start at the root, without a slash. */
export type Command =
  | { readonly do: "valid"; readonly ms: number }
  | { readonly do: "write"; readonly path: string; readonly text: string; readonly offset?: number }
  | { readonly do: "chmod"; readonly path: string; readonly mode: number }
  | { readonly do: "rename"; readonly from: string; readonly to: string }
  | { readonly do: "unlink"; readonly path: string }
  | { readonly do: "text"; readonly path: string }
  | { readonly do: "forget"; readonly what: "names" | "attributes" | "pages"; readonly path: string }
  | { readonly do: "hold" | "release"; readonly method: HeldMethod }
  /** As before a lease goes. */
  | { readonly do: "settle"; readonly path: string }
  /** Answers what is held of that method, and goes on holding. */
  | { readonly do: "let"; readonly method: HeldMethod }
  /** Calls since the last time, by method; and how many are held now. */
  | { readonly do: "counts" }
  | { readonly do: "locks" };

export class ControlledFileSystem extends MemoryFileSystem {
  #counts: Record<string, number> = {};
  readonly #holds = new Map<HeldMethod, (() => void)[]>();

  /** For the proxy that counts; see `counted`. */
  count(method: string): void {
    this.#counts[method] = (this.#counts[method] ?? 0) + 1;
  }

  override async sync(...args: Parameters<MemoryFileSystem["sync"]>): Promise<void> {
    const [handle, signal] = args;
    const { attributes } = await super.getAttributes(handle.inode);
    if (attributes.size === slowSyncBytes) await new Promise((done) => setTimeout(done, slowSyncMs));
    if (attributes.size === slowSyncBytes + 1) {
      await new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new FileError("EINTR"))));
    }
    await super.sync(handle);
  }

  override async write(...args: Parameters<MemoryFileSystem["write"]>): Promise<number> {
    if (args[1] >= 2 ** 41) await new Promise((done) => setTimeout(done, slowSyncMs));
    await this.#held("write");
    return super.write(...args);
  }

  override async read(...args: Parameters<MemoryFileSystem["read"]>): Promise<readonly Uint8Array[]> {
    await this.#held("read");
    return super.read(...args);
  }

  override async createAndOpen(
    ...args: Parameters<MemoryFileSystem["createAndOpen"]>
  ): ReturnType<MemoryFileSystem["createAndOpen"]> {
    await this.#held("createAndOpen");
    return super.createAndOpen(...args);
  }

  override async setAttributes(...args: Parameters<MemoryFileSystem["setAttributes"]>): Promise<Attributes> {
    await this.#held("setAttributes");
    return super.setAttributes(...args);
  }

  /** The value as of now comes later: what a held answer says may be outdated by then. */
  override async getAttributes(
    ...args: Parameters<MemoryFileSystem["getAttributes"]>
  ): ReturnType<MemoryFileSystem["getAttributes"]> {
    const found = await super.getAttributes(...args);
    await this.#held("getAttributes");
    return found;
  }

  override async lookup(...args: Parameters<MemoryFileSystem["lookup"]>): Promise<Attributes | undefined> {
    const found = await super.lookup(...args);
    await this.#held("lookup");
    return found;
  }

  async run(command: Command): Promise<object> {
    switch (command.do) {
      case "valid":
        this.validMs = command.ms;
        return {};
      case "hold":
        this.#holds.set(command.method, []);
        return {};
      case "let":
      case "release": {
        const waiting = this.#holds.get(command.method) ?? [];
        if (command.do === "release") this.#holds.delete(command.method);
        else this.#holds.set(command.method, []);
        for (const go of waiting) go();
        return { released: waiting.length };
      }
      case "counts": {
        const counts = this.#counts;
        this.#counts = {};
        const held = Object.fromEntries([...this.#holds].map(([method, waiting]) => [method, waiting.length]));
        return { counts, held };
      }
      case "locks":
        return { count: this.locks.count };
      case "settle":
        await this.caches!.settled(await this.#inodeOf(command.path));
        return {};
      case "forget":
        return this.#forget(command.what, command.path);
      default:
        return this.#change(command);
    }
  }

  async #change(command: Extract<Command, { do: "write" | "chmod" | "rename" | "unlink" | "text" }>): Promise<object> {
    if (command.do === "rename") {
      const [from, to] = [await this.#parentOf(command.from), await this.#parentOf(command.to)];
      await super.rename(from.inode, from.name, to.inode, to.name, { noReplace: false });
      return {};
    }
    const { inode: parent, name } = await this.#parentOf(command.path);
    if (command.do === "unlink") {
      await super.unlink(parent, name);
      return {};
    }
    const node = { type: "file", mode: 0o644, uid: 0, gid: 0 } as const;
    const found = (await super.lookup(parent, name)) ?? (await super.create(parent, name, node));
    if (command.do === "chmod") {
      await super.setAttributes(found.inode, { mode: command.mode });
      return {};
    }
    const handle = await super.open(found.inode, {});
    try {
      if (command.do === "text") {
        const parts = await super.read(handle, 0, found.size);
        return { text: Buffer.concat(parts).toString("latin1") };
      }
      await super.write(handle, command.offset ?? 0, Buffer.from(command.text), { killPrivileges: false });
      return {};
    } finally {
      super.close(handle);
    }
  }

  async #forget(what: "names" | "attributes" | "pages", path: string): Promise<object> {
    if (what === "names") {
      this.caches!.forgetNames();
      return {};
    }
    const inode = await this.#inodeOf(path);
    if (what === "attributes") this.caches!.forgetAttributes(inode);
    else await this.caches!.forgetPages(inode);
    return {};
  }

  async #inodeOf(path: string): Promise<number> {
    const { inode: parent, name } = await this.#parentOf(path);
    return name === "" ? parent : (await super.lookup(parent, name))!.inode;
  }

  async #parentOf(path: string): Promise<{ inode: number; name: string }> {
    const names = path.split("/");
    const name = names.pop()!;
    let inode = this.root;
    for (const one of names) inode = (await super.lookup(inode, one))!.inode;
    return { inode, name };
  }

  async #held(method: HeldMethod): Promise<void> {
    const waiting = this.#holds.get(method);
    if (waiting !== undefined) await new Promise<void>((go) => waiting.push(go));
  }
}

/** The same file system, whose calls are counted. */
export function counted(files: ControlledFileSystem): ControlledFileSystem {
  return new Proxy(files, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        target.count(String(key));
        return value.apply(target, args);
      };
    },
  });
}
