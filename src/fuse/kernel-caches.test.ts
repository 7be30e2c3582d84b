/**
 * What the real kernel keeps and forgets: names, attributes, pages of mapped memory, with answers of ours outstanding.
 * Files are changed behind the kernel's back; it must go on saying what it keeps, until it is told to forget.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { isMounted, MountedChild } from "./testing/mounted-child.ts";
import { UserProcess } from "./testing/user-process.ts";
import { pause, promptly, skipUsers as skip, withUsers } from "./testing/with-users.ts";

const timeout = 60_000;
const run = promisify(execFile);
const mode = (path: string) => `oct(os.stat(${JSON.stringify(path)}).st_mode & 0o7777)`;

test("names are kept until INC_EPOCH, those that are not there too", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "a", text: "x" });
    assert.equal(await user.ask("os.path.exists('a')"), true);
    assert.equal(await user.ask("os.path.exists('b')"), false);
    await child.ask({ do: "rename", from: "a", to: "b" });
    await child.counts();
    assert.equal(await user.ask("[os.path.exists('a'), os.path.exists('b')]").then(String), "true,false");
    assert.deepEqual(await child.counts(), {});
    await child.ask({ do: "forget", what: "names", path: "" });
    assert.equal(await user.ask("[os.path.exists('a'), os.path.exists('b')]").then(String), "false,true");
    assert.equal((await child.counts()).lookup, 2);
  }),
);

test("attributes are kept until INVAL_INODE, and for as long as was said", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "f", text: "x" });
    assert.equal(await user.ask(mode("f")), "0o644");
    await child.ask({ do: "chmod", path: "f", mode: 0o600 });
    assert.equal(await user.ask(mode("f")), "0o644");
    await child.ask({ do: "forget", what: "attributes", path: "f" });
    assert.equal(await user.ask(mode("f")), "0o600");
    await child.ask({ do: "valid", ms: 400 });
    await child.ask({ do: "forget", what: "attributes", path: "f" });
    assert.equal(await user.ask(mode("f")), "0o600");
    await child.ask({ do: "chmod", path: "f", mode: 0o640 });
    assert.equal(await user.ask(mode("f")), "0o600");
    await pause(500);
    assert.equal(await user.ask(mode("f")), "0o640");
    await child.ask({ do: "valid", ms: 0 });
    assert.equal(await user.ask(mode("f")), "0o640");
    await pause(500);
    await child.ask({ do: "chmod", path: "f", mode: 0o644 });
    assert.equal(await user.ask(mode("f")), "0o644");
  }),
);

test("without INC_EPOCH (Linux 6.1) no name is kept, but attributes are", { skip, timeout }, () =>
  withUsers(["valid", "linux61"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "a", text: "x" });
    assert.equal(await user.ask("[os.path.exists('a'), os.path.exists('b')]").then(String), "true,false");
    await user.ask("keep(fd=os.open('a', os.O_RDONLY))");
    assert.equal(await user.ask("os.fstat(fd).st_size"), 1);
    await child.ask({ do: "write", path: "a", text: "xyz" });
    assert.equal(await user.ask("os.fstat(fd).st_size"), 1);
    await child.ask({ do: "forget", what: "attributes", path: "a" });
    assert.equal(await user.ask("os.fstat(fd).st_size"), 3);
    await child.ask({ do: "rename", from: "a", to: "b" });
    assert.equal(await user.ask("[os.path.exists('a'), os.path.exists('b')]").then(String), "false,true");
    await user.ask("os.close(fd)");
  }),
);

test("attributes that the kernel takes without a look at its version are not kept", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await user.ask("os.mkdir('d', 0o755)");
    await child.ask({ do: "chmod", path: "d", mode: 0o700 });
    assert.equal(await user.ask(mode("d")), "0o700");
    await child.counts();
    await user.ask("keep(fd=os.open('d/f', os.O_CREAT | os.O_RDWR, 0o644))");
    // open(2) itself looks at those of the file, and keeps them for that long.
    assert.equal((await child.counts()).getAttributes, undefined);
    await child.ask({ do: "chmod", path: "d/f", mode: 0o604 });
    await child.ask({ do: "settle", path: "d/f" });
    assert.equal(await user.ask("oct(os.fstat(fd).st_mode)"), "0o100604");
    await user.ask("os.fchmod(fd, 0o640)");
    await child.ask({ do: "chmod", path: "d/f", mode: 0o600 });
    assert.equal(await user.ask("oct(os.fstat(fd).st_mode)"), "0o100600");
    await user.ask("os.close(fd)");
  }),
);

test("an answer to GETATTR on its way when attributes are forgotten is not kept", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "f", text: "x" });
    await user.ask("keep(fd=os.open('f', os.O_RDONLY))");
    await child.ask({ do: "forget", what: "attributes", path: "f" });
    await child.ask({ do: "hold", method: "getAttributes" });
    const stat = user.ask("os.fstat(fd).st_size");
    await child.untilHeld("getAttributes");
    await child.ask({ do: "write", path: "f", text: "xyz" });
    await child.ask({ do: "forget", what: "attributes", path: "f" });
    await child.ask({ do: "release", method: "getAttributes" });
    assert.equal(await stat, 1); // it was asked before
    assert.equal(await user.ask("os.fstat(fd).st_size"), 3);
    await user.ask("os.close(fd)");
  }),
);

test("answers on their way when names are forgotten are not kept; nothing blocks", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user, other }) => {
    await child.ask({ do: "write", path: "a", text: "x" });
    await child.ask({ do: "hold", method: "lookup" });
    const exists = user.ask("os.path.exists('a')");
    await child.untilHeld("lookup");
    await child.ask({ do: "rename", from: "a", to: "b" });
    await promptly(child.ask({ do: "forget", what: "names", path: "" }));
    await child.ask({ do: "release", method: "lookup" });
    assert.equal(await exists, true);
    assert.equal(await user.ask("os.path.exists('a')"), false);
    await user.ask("[os.mkdir('d'), os.mkdir('d/sub'), os.close(os.open('d/f', os.O_CREAT))]");
    await child.ask({ do: "hold", method: "createAndOpen" });
    const made = user.ask("os.close(os.open('d/sub/c', os.O_CREAT | os.O_EXCL, 0o600))");
    await child.untilHeld("createAndOpen");
    await promptly(child.ask({ do: "forget", what: "names", path: "" }));
    await promptly(child.ask({ do: "forget", what: "attributes", path: "d/sub" }));
    assert.equal(await promptly(other.ask("os.path.exists('d/f')")), true);
    await child.ask({ do: "release", method: "createAndOpen" });
    await made;
    await child.ask({ do: "unlink", path: "d/sub/c" });
    assert.equal(await user.ask("os.path.exists('d/sub/c')"), false); // it was made in the epoch before
  }),
);

test("what is mounted inside stays with that option, because no names are kept then", { skip, timeout }, () =>
  withUsers(["valid", "mounts-inside"], async ({ child, user }) => {
    await user.ask("[os.mkdir('d'), os.mkdir('d/inside')]");
    const inside = join(child.directory, "d/inside");
    await run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", inside]);
    try {
      await child.ask({ do: "write", path: "a", text: "x" });
      assert.equal(await user.ask("os.path.exists('a')"), true);
      await child.ask({ do: "rename", from: "a", to: "b" });
      await child.ask({ do: "forget", what: "names", path: "" });
      assert.equal(await user.ask("[os.path.exists('a'), os.path.exists('b')]").then(String), "false,true");
      assert.equal(await user.ask("os.path.ismount('d/inside')"), true);
    } finally {
      await run("umount", [inside]);
    }
  }),
);

test("a name that rename took to another directory is forgotten like all others", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await user.ask("[os.mkdir('a'), os.mkdir('b'), os.close(os.open('a/x', os.O_CREAT))]");
    await user.ask("os.rename('a/x', 'b/x')");
    await child.counts();
    assert.equal(await user.ask("os.path.exists('b/x')"), true);
    assert.equal((await child.counts()).lookup, undefined);
    await child.ask({ do: "rename", from: "b/x", to: "b/y" });
    await child.ask({ do: "forget", what: "names", path: "" });
    assert.equal(await user.ask("[os.path.exists('b/x'), os.path.exists('b/y')]").then(String), "false,true");
  }),
);

test("pages are kept until they are forgotten; dirty ones are written first", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "f", text: "old".padEnd(8192, ".") });
    await user.ask("keep(m=mapped('f', 8192))");
    assert.equal(await user.ask("get(m, 0, 3)"), "old");
    await child.ask({ do: "write", path: "f", text: "new" });
    assert.equal(await user.ask("get(m, 0, 3)"), "old");
    await child.ask({ do: "forget", what: "attributes", path: "f" });
    assert.equal(await user.ask("get(m, 0, 3)"), "old");
    await promptly(child.ask({ do: "forget", what: "pages", path: "f" }));
    assert.equal(await user.ask("get(m, 0, 3)"), "new");
    await user.ask("keep(w=mapped('f', 8192, True))");
    await user.ask("put(w, 4096, 'dirty')");
    assert.equal(((await child.ask({ do: "text", path: "f" })).text as string).slice(4096, 4101), ".....");
    await promptly(child.ask({ do: "forget", what: "pages", path: "f" }));
    assert.equal(((await child.ask({ do: "text", path: "f" })).text as string).slice(4096, 4101), "dirty");
    await child.ask({ do: "write", path: "f", text: "again", offset: 4096 });
    assert.equal(await user.ask("[get(w, 4096, 5), get(m, 4096, 5)]").then(String), "again,again");
    await user.ask("[m.close(), w.close()]");
  }),
);

test("a file whose pages nobody has is forgotten at once", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await child.ask({ do: "write", path: "f", text: "x".repeat(8192) });
    assert.equal(await user.ask("len(open('f', 'rb').read())"), 8192);
    await child.ask({ do: "hold", method: "read" });
    const reading = user.ask("len(open('f', 'rb').read())");
    await child.untilHeld("read");
    await promptly(child.ask({ do: "forget", what: "pages", path: "f" }));
    await child.ask({ do: "release", method: "read" });
    assert.equal(await reading, 8192);
  }),
);

test(
  "pages are forgotten while READs for pages are outstanding, and those that come meanwhile",
  {
    skip,
    timeout,
  },
  () =>
    withUsers(["valid"], async ({ child, user, other }) => {
      const pageCount = 1024;
      await child.ask({ do: "write", path: "f", text: "a".repeat(pageCount * 4096) });
      await child.ask({ do: "write", path: "g", text: "g".repeat(4096) });
      for (const one of [user, other]) {
        await one.ask(`[keep(m=mapped('f', ${pageCount * 4096})), m.madvise(mmap.MADV_RANDOM)]`);
      }
      assert.equal(await user.ask("get(m, 4096 * 500, 1)"), "a");
      await child.ask({ do: "hold", method: "read" });
      const first = user.ask("get(m, 0, 1)");
      await child.untilHeld("read");
      const forgotten = child.ask({ do: "forget", what: "pages", path: "f" });
      await pause(100); // it waits for the first READ now
      const second = other.ask("get(m, 4096 * 900, 1)");
      await child.untilHeld("read", 2);
      const third = new UserProcess(child.directory);
      try {
        // Nothing else waits for it.
        assert.equal(await promptly(third.ask("os.stat('g').st_size")), 4096);
        await promptly(child.ask({ do: "forget", what: "attributes", path: "g" }));
        await child.ask({ do: "release", method: "read" });
        await promptly(forgotten);
        await Promise.all([first, second]);
        await child.ask({ do: "write", path: "f", text: "b".repeat(pageCount * 4096) });
        // What was read again since is of the time after the forgetting, and new.
        assert.equal(await user.ask("get(m, 4096 * 500, 1)"), "b");
      } finally {
        await third.end();
      }
      await Promise.all([user, other].map((one) => one.ask("m.close()")));
    }),
);

test("pages that many tasks keep asking for are given up all the same", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user, other }) => {
    const pageCount = 256;
    await child.ask({ do: "write", path: "f", text: "a".repeat(pageCount * 4096) });
    const readOn = `[keep(m=mapped('f', ${pageCount * 4096})), m.madvise(mmap.MADV_RANDOM),
      [m[4096 * (i * 7 % ${pageCount})] for i in range(3000000)][0]][2]`;
    const reading = [user, other].map((one) => one.ask(readOn));
    await pause(100);
    for (let round = 0; round < 100; round++) {
      await promptly(child.ask({ do: "forget", what: "pages", path: "f" }));
    }
    await Promise.all(reading);
    await Promise.all([user, other].map((one) => one.ask("m.close()")));
  }),
);

test("pages are forgotten while their write-back is outstanding", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user, other }) => {
    await child.ask({ do: "write", path: "f", text: "a".repeat(8192) });
    await user.ask("keep(m=mapped('f', 8192, True))");
    await user.ask("put(m, 0, 'dirty')");
    await child.ask({ do: "hold", method: "write" });
    const synced = user.ask("m.flush()");
    await child.untilHeld("write");
    const forgotten = child.ask({ do: "forget", what: "pages", path: "f" });
    await pause(100);
    await promptly(child.ask({ do: "forget", what: "names", path: "" }));
    await promptly(child.ask({ do: "forget", what: "attributes", path: "f" }));
    assert.equal(await promptly(other.ask("os.stat('f').st_size")), 8192);
    await child.ask({ do: "release", method: "write" });
    await promptly(forgotten);
    await synced;
    assert.equal(((await child.ask({ do: "text", path: "f" })).text as string).slice(0, 6), "dirtya");
    await user.ask("m.close()");
  }),
);

test("a first open for writing drops pages that were read before, others keep them", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user, other }) => {
    const readCount = async () => {
      assert.equal(await user.ask("get(m, 0, 1)"), "a");
      return (await child.counts()).read ?? 0;
    };
    await child.ask({ do: "write", path: "f", text: "a".repeat(8192) });
    await user.ask("keep(m=mapped('f', 8192))");
    assert.equal(await readCount(), 1);
    await other.ask("keep(reader=os.open('f', os.O_RDONLY))");
    assert.equal(await readCount(), 0);
    await other.ask("keep(first=os.open('f', os.O_RDWR))");
    assert.equal(await readCount(), 1);
    await other.ask("keep(second=os.open('f', os.O_WRONLY))");
    assert.equal(await readCount(), 0);
    await other.ask("[os.close(first), os.close(second), keep(again=os.open('f', os.O_RDWR))]");
    assert.equal(await readCount(), 1);
    await other.ask("[os.close(reader), os.close(again)]");
    await user.ask("m.close()");
  }),
);

test("unmounting ends although a notification blocks in the kernel", { skip, timeout }, async () => {
  const child = await MountedChild.start(["valid"]);
  const user = new UserProcess(child.directory);
  try {
    await child.ask({ do: "write", path: "f", text: "a".repeat(8192) });
    await user.ask("[keep(m=mapped('f', 8192, True)), put(m, 0, 'dirty')]");
    await child.ask({ do: "hold", method: "write" });
    void child.ask({ do: "forget", what: "pages", path: "f" }).catch(() => {});
    await child.untilHeld("write");
    assert.match(await promptly(child.end()), /ended: closed here/);
    assert.equal(isMounted(child.directory), false);
  } finally {
    await user.kill();
    await child.clear();
  }
});
