/** The checkers can fail: bugs of synchronous writes, holes and copies are planted, and each must be found. */
import { test } from "node:test";
import type { Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import { transact } from "../wire/catalogue/leader.ts";
import type { Hooks } from "./hooks.ts";
import { mustBeFound, withFileSystem, withService } from "./testing/planting.ts";

const lost = /not linearizable/;

test("a synchronous write that is answered before it is durable", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => {
      const written = new WeakSet<Handle>();
      return {
        async write(handle, ...call) {
          const bytes = await real.write(handle, ...call);
          written.add(handle);
          return bytes;
        },
        // What the kernel's request asks for behind its write.
        async sync(handle, signal) {
          if (!written.delete(handle)) await real.sync(handle, signal);
        },
      };
    });
  const only = { writeDurably: 10, createFile: 4, open: 4, close: 1, lookup: 1 };
  return mustBeFound(hooks, lost, { faults: { clientCrash: 1 }, only });
});

test("a punched hole that is not flushed before the lease goes to another client", () => {
  // The client believes in its hole; the leader has never heard of it.
  const hooks = (): Hooks =>
    withService((service) => {
      service.plant(transact, (real) => (body, ...rest) => {
        const transactions = body.transactions.map((transaction) => {
          const { operation } = transaction;
          if (operation.kind !== "unmap") return transaction;
          const { inode } = operation;
          const touched = {
            ...{ kind: "setAttributes" as const, inode, mappings: [], mtime: { kind: "now" as const } },
            ...{ mode: undefined, uid: undefined, gid: undefined, size: undefined },
            ...{ atime: undefined, ctime: undefined, killPrivileges: false },
          };
          return { ...transaction, operation: touched };
        });
        return real({ ...body, transactions }, ...rest);
      });
    });
  const only = { punch: 10, overwrite: 10, read: 10, createFile: 2, open: 4, close: 1 };
  return mustBeFound(hooks, lost, { only });
});

test("a copy that takes more of the source than was asked for", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => ({
      async copyRange(copy, signal) {
        const copied = await real.copyRange({ ...copy, length: copy.length + 1 }, signal);
        return Math.min(copied, copy.length);
      },
    }));
  const only = { copy: 10, write: 10, read: 10, createFile: 4, open: 4 };
  return mustBeFound(hooks, lost, { only });
});

test("an unnamed file that is forgotten when it gets its name", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => ({
      async link(inode, parent, name, signal) {
        const attributes = await real.link(inode, parent, name, signal);
        if (attributes.linkCount === 1) await real.unlink(parent, name, signal);
        return attributes;
      },
    }));
  const only = { makeUnnamed: 4, linkUnnamed: 8, write: 4, lookup: 8, readDirectory: 4, unlink: 1 };
  return mustBeFound(hooks, lost, { only });
});

test("an access list that a new file doesn't inherit", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => ({
      setAccessControlList: async (inode, which, ...rest) => {
        if (which === "access") await real.setAccessControlList(inode, which, ...rest);
      },
    }));
  const only = { setAccessList: 6, makeDirectory: 4, createFile: 8, getAttributes: 4, unlink: 4, removeDirectory: 2 };
  return mustBeFound(hooks, lost, { only });
});

test("a write that is answered although the stores have no space for it", () => {
  const hooks = (): Hooks =>
    withFileSystem((real) => ({
      async write(handle, offset, data, ...rest) {
        try {
          return await real.write(handle, offset, data, ...rest);
        } catch (error) {
          if (error instanceof FileError && error.code === "ENOSPC") return data.byteLength;
          throw error;
        }
      },
    }));
  return mustBeFound(hooks, lost, { full: true, operations: 300 });
});
