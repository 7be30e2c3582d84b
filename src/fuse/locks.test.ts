/** Advisory locks and extended attributes through the real kernel. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UserProcess } from "./testing/user-process.ts";
import { pause, promptly, skipUsers as skip, withUsers } from "./testing/with-users.ts";

const timeout = 60_000;
const open = "keep(fd=os.open('f', os.O_CREAT | os.O_RDWR))";
const exclusive = "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)";

/** struct flock of fcntl(2), 64 bits. */
const lock = (command: string, type: string, start: number | string, length: number | string) =>
  `struct.unpack('hhqqi', fcntl.fcntl(fd, fcntl.${command}, struct.pack('hhqqi', fcntl.${type}, 0, ${start}, ${length}, 0))[:28])`;

test("POSIX locks: ranges, who is in the way, the end of all files", { skip, timeout }, () =>
  withUsers([], async ({ user, other }) => {
    await user.ask(open);
    await other.ask(open);
    assert.equal(await user.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 100)"), null);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, 0)"), null);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 109)"), "!EAGAIN");
    const found = (await other.ask(lock("F_GETLK", "F_WRLCK", 0, 0))) as number[];
    assert.deepEqual(found, [1, 0, 100, 10, user.pid]);
    assert.deepEqual(((await user.ask(lock("F_GETLK", "F_WRLCK", 100, 10))) as number[])[0], 2); // nobody
    // To the end, and from beyond what numbers hold exactly.
    assert.equal(await user.ask("fcntl.lockf(fd, fcntl.LOCK_SH, 0, 200)"), null);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 ** 62)"), "!EAGAIN");
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 ** 63 - 1)"), "!EAGAIN");
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 ** 52)"), "!EAGAIN");
    assert.deepEqual(
      ((await other.ask(lock("F_GETLK", "F_WRLCK", 2 ** 40, 1))) as number[]).slice(0, 4),
      [0, 0, 200, 0],
    );
    assert.equal(await user.ask("fcntl.lockf(fd, fcntl.LOCK_UN)"), null);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 0)"), null);
    assert.equal(await user.ask("fcntl.lockf(fd, fcntl.LOCK_UN, 1, 2 ** 62)"), null);
  }),
);

test("POSIX locks where no file reaches: each byte is another one, up to the last", { skip, timeout }, () =>
  withUsers([], async ({ user, other }) => {
    await user.ask(open);
    await other.ask(open);
    for (const byte of ["2 ** 53", "2 ** 63 - 1"]) {
      assert.equal(await user.ask(`fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, ${byte})`), null, byte);
      assert.equal(await other.ask(`fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, ${byte} - 1)`), null, byte);
      assert.equal(await other.ask(`fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, ${byte})`), "!EAGAIN", byte);
    }
    // From 2 to the length: numbers of JSON can't say where.
    const told = `${lock("F_GETLK", "F_WRLCK", "2 ** 53", 1)}[2:4] == (2 ** 53, 1)`;
    assert.equal(await other.ask(told), true);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 2 ** 62, 2 ** 53 + 1)"), null);
    assert.equal(await user.ask("fcntl.lockf(fd, fcntl.LOCK_UN, 1, 2 ** 53)"), null);
    assert.equal(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 ** 53)"), null);
  }),
);

test("POSIX locks end with the first close of any descriptor of the file, before it returns", { skip, timeout }, () =>
  withUsers([], async ({ child, user, other }) => {
    await user.ask(open);
    await other.ask(open);
    assert.equal(await user.ask(exclusive), null);
    assert.equal(await other.ask(exclusive), "!EAGAIN");
    await user.ask("os.close(os.open('f', os.O_RDONLY))");
    assert.equal(await other.ask(exclusive), null);
    await other.ask("os.close(fd)");
    assert.deepEqual(await child.ask({ do: "locks" }), { count: 0 });
  }),
);

test("a wait for a lock ends when it is free", { skip, timeout }, () =>
  withUsers([], async ({ child, user, other }) => {
    await user.ask(open);
    await other.ask(open);
    await user.ask(exclusive);
    const waiting = other.ask("fcntl.lockf(fd, fcntl.LOCK_EX)");
    while ((await child.ask({ do: "locks" })).count !== 2) await pause(10);
    await user.ask("fcntl.lockf(fd, fcntl.LOCK_UN)");
    assert.equal(await promptly(waiting), null);
    assert.equal(await user.ask(exclusive), "!EAGAIN");
    // The one who has it dies.
    const again = user.ask("fcntl.lockf(fd, fcntl.LOCK_EX)");
    while ((await child.ask({ do: "locks" })).count !== 2) await pause(10);
    await other.kill();
    assert.equal(await promptly(again), null);
  }),
);

test("any signal ends a wait for a lock, and nothing is held by it", { skip, timeout }, () =>
  withUsers([], async ({ child, user, other }) => {
    await user.ask(open);
    await other.ask(open);
    await user.ask(exclusive);
    // Python waits on after a signal unless its handler raises something.
    await other.ask("signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(OSError(errno.EINTR, 'signal')))");
    for (const wait of [
      "fcntl.lockf(fd, fcntl.LOCK_EX)",
      "fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack('hhqqi', 1, 0, 0, 0, 0))",
    ]) {
      const waiting = other.ask(wait);
      while ((await child.ask({ do: "locks" })).count !== 2) await pause(10);
      other.signal("SIGUSR1");
      assert.equal(await promptly(waiting), "!EINTR");
      assert.deepEqual(await child.ask({ do: "locks" }), { count: 1 });
    }
    const waiting = other.ask("fcntl.lockf(fd, fcntl.LOCK_EX)");
    while ((await child.ask({ do: "locks" })).count !== 2) await pause(10);
    await promptly(other.kill());
    await waiting;
    while ((await child.ask({ do: "locks" })).count !== 1) await pause(10);
  }),
);

test("locks of open file descriptions last until their last close", { skip, timeout }, () =>
  withUsers([], async ({ child, user, other }) => {
    await user.ask(open);
    await other.ask(open);
    assert.deepEqual(((await user.ask(lock("F_OFD_SETLK", "F_WRLCK", 0, 0))) as number[])[0], 1);
    await user.ask("os.close(os.open('f', os.O_RDONLY))");
    assert.equal(await other.ask(exclusive), "!EAGAIN");
    await user.ask("keep(second=os.dup(fd))");
    await user.ask("os.close(fd)");
    assert.equal(await other.ask(exclusive), "!EAGAIN");
    await user.ask("os.close(second)");
    while ((await child.ask({ do: "locks" })).count !== 0) await pause(10); // RELEASE comes after close(2) has returned
    assert.equal(await other.ask(exclusive), null);
  }),
);

test("flock: shared and exclusive, inherited, ended by the last close", { skip, timeout }, () =>
  withUsers([], async ({ child, user, other }) => {
    await user.ask(open);
    await other.ask(open);
    assert.equal(await user.ask("fcntl.flock(fd, fcntl.LOCK_SH)"), null);
    assert.equal(await other.ask("fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)"), null);
    assert.equal(await other.ask("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"), "!EAGAIN");
    assert.equal(await other.ask(exclusive), null); // of another kind
    await other.ask("os.close(fd)");
    while ((await child.ask({ do: "locks" })).count !== 1) await pause(10);
    await user.ask("keep(second=os.dup(fd))");
    assert.equal(await user.ask("fcntl.flock(second, fcntl.LOCK_EX)"), null);
    await user.ask("os.close(fd)");
    await other.ask(open);
    const waiting = other.ask("fcntl.flock(fd, fcntl.LOCK_EX)");
    while ((await child.ask({ do: "locks" })).count !== 2) await pause(10);
    await user.ask("fcntl.flock(second, fcntl.LOCK_UN)");
    assert.equal(await promptly(waiting), null);
    assert.equal(await user.ask("fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)"), "!EAGAIN");
    await other.kill();
    assert.equal(await promptly(user.ask("fcntl.flock(second, fcntl.LOCK_EX)")), null);
  }),
);

test("extended attributes: values, sizes, lists, flags, namespaces", { skip, timeout }, () =>
  withUsers(["valid"], async ({ child, user }) => {
    await user.ask("[os.close(os.open('f', os.O_CREAT)), os.mkdir('d'), os.symlink('f', 'l')]");
    assert.equal(await user.ask("os.setxattr('f', b'user.\\xff\\x01', b'\\x00\\xfe')"), null);
    assert.equal(await user.ask("os.getxattr('f', b'user.\\xff\\x01').hex()"), "00fe");
    assert.equal(await user.ask("os.setxattr('f', 'user.empty', b'')"), null);
    assert.equal(await user.ask("os.getxattr('f', 'user.empty').hex()"), "");
    assert.equal(await user.ask("os.setxattr('f', 'user.big', b'v' * 65536)"), null);
    assert.equal(await user.ask("len(os.getxattr('f', 'user.big'))"), 65536);
    assert.equal(await user.ask("os.setxattr('f', 'user.big', b'v' * 65537)"), "!E2BIG");
    assert.equal(await user.ask("libc.getxattr(b'f', b'user.big', None, 0)"), 65536);
    assert.equal(
      await user
        .ask("[libc.getxattr(b'f', b'user.big', bytes(9), 9), errno.errorcode[ctypes.get_errno()]]")
        .then(String),
      "-1,ERANGE",
    );
    assert.equal(
      await user.ask("[libc.listxattr(b'f', bytes(9), 9), errno.errorcode[ctypes.get_errno()]]").then(String),
      "-1,ERANGE",
    );
    assert.equal(await user.ask("libc.listxattr(b'f', None, 0)"), 8 + 11 + 9);
    assert.equal(await user.ask("len(os.listxattr('f'))"), 3);
    assert.deepEqual(await user.ask("os.listxattr('d')"), []);
    assert.equal(await user.ask("os.setxattr('f', 'user.empty', b'', os.XATTR_CREATE)"), "!EEXIST");
    assert.equal(await user.ask("os.setxattr('f', 'user.none', b'', os.XATTR_REPLACE)"), "!ENODATA");
    assert.equal(await user.ask("os.getxattr('f', 'user.none')"), "!ENODATA");
    assert.equal(await user.ask("os.removexattr('f', 'user.none')"), "!ENODATA");
    for (const name of ["user.empty", "user.big"]) assert.equal(await user.ask(`os.removexattr('f', '${name}')`), null);
    for (const name of ["trusted.t", "security.brinefs"]) {
      assert.equal(await user.ask(`os.setxattr('d', '${name}', b'x')`), null);
      assert.equal(await user.ask(`os.setxattr('l', '${name}', b'x', follow_symlinks=False)`), null);
    }
    assert.deepEqual(await user.ask("os.listxattr('d')"), ["trusted.t", "security.brinefs"]);
    assert.equal(await user.ask("os.setxattr('f', 'system.posix_acl_access', b'\\x02\\x00\\x00\\x00')"), null);
    assert.equal(await user.ask("os.setxattr('f', 'other.x', b'')"), "!ENOTSUP");
    assert.equal(await user.ask("os.setxattr('f', 'user.', b'')"), "!EINVAL");
    // A list that is longer than any caller may ask for.
    for (let index = 0; index < 280; index++) {
      await user.ask(`os.setxattr('d', 'user.${String(index).padEnd(240, "n")}', b'')`);
    }
    assert.equal(await user.ask("os.listxattr('d')"), "!E2BIG");
    // Who is not root does not see what only root may see.
    const plain = new UserProcess(child.directory);
    assert.equal(
      await plain.ask("[os.setxattr('f', 'trusted.t', b''), os.chmod('f', 0o644), os.setuid(65534)][2]"),
      null,
    );
    assert.equal(await plain.ask("len(os.listxattr('f'))"), 1);
    assert.equal(await plain.ask("os.setxattr('f', 'user.x', b'')"), "!EACCES");
    assert.equal(await plain.ask("os.getxattr('f', b'user.\\xff\\x01').hex()"), "00fe");
    await plain.end();
    assert.equal(await user.ask("len(os.listxattr('f'))"), 2);
  }),
);
