/** What the checker lets a client lose when its session ends (P3), and what not. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { absent, attributes, done, History, root, write } from "../testing/history.ts";

const block = 4096;
const lost = /not linearizable/;

/** Client "one" dies after `before`, and its session ends; then `after` is seen by client "two". */
function dies(before: (history: History) => void, after: (history: History) => void): void {
  const history = new History();
  before(history);
  history.checker.clientDied("one");
  history.checker.sessionEnded("one");
  after(history);
}

test("of metadata, a prefix is left", () => {
  const make = (history: History) => {
    history.file("one", 10, "a");
    history.file("one", 11, "b");
    history.file("one", 12, "c");
  };
  for (const names of ["", "a:10", "a:10 b:11", "a:10 b:11 c:12"])
    dies(make, (history) => history.lists("two", root, names));
  for (const names of ["b:11", "c:12", "a:10 c:12", "b:11 c:12"]) {
    assert.throws(() => dies(make, (history) => history.lists("two", root, names)), lost);
  }
});

test("also in different directories", () => {
  const make = (history: History) => {
    history.directory("one", 20, "d");
    history.directory("one", 21, "e");
    history.checker.nothingUnsynced("one");
    history.file("one", 10, "a", { parent: 20 });
    history.file("one", 11, "b", { parent: 21 });
  };
  dies(make, (history) => {
    history.lists("two", 20, "a:10");
    history.lists("two", 21, "");
  });
  assert.throws(() => {
    dies(make, (history) => {
      history.lists("two", 20, "");
      history.lists("two", 21, "b:11");
    });
  }, lost);
});

test("operations that were under way together may be left in either order, and those under way at the end not at all", () => {
  const make = (history: History) => {
    history.directory("one", 20, "d");
    history.directory("one", 21, "e");
    history.checker.nothingUnsynced("one");
    const create = (parent: number, name: string) =>
      history.call("one", { kind: "create", parent, name, type: "file", mode: 0o644, target: "", open: false });
    const [first, second] = [create(20, "a"), create(21, "b")];
    history.checker.returned(first, attributes(10, {}));
    history.checker.returned(second, attributes(11, {}));
    history.checker.abandon(create(20, "c"));
  };
  const look = (first: string, second: string) => {
    dies(make, (history) => {
      history.lists("two", 20, first);
      history.lists("two", 21, second);
    });
  };
  look("a:10", "");
  look("", "b:11");
  look("a:10 c:30", "b:11");
  assert.throws(() => look("a:10 c:30", ""), lost);
});

test("a sync is proof, for all that had returned before it, in the order of the client", () => {
  const make = (history: History) => {
    history.file("one", 10, "a");
    history.file("one", 11, "b");
    history.sync("one", 11);
    history.file("one", 12, "c");
  };
  dies(make, (history) => history.lists("two", root, "a:10 b:11"));
  dies(make, (history) => history.lists("two", root, "a:10 b:11 c:12"));
  assert.throws(() => dies(make, (history) => history.lists("two", root, "a:10")), lost);
  const all = (history: History) => {
    history.file("one", 10, "a");
    history.write("one", 10, 100, 0, block);
    history.sync("one", root);
  };
  dies(all, (history) => history.read("two", 10, 0, [100, block]));
  assert.throws(() => dies(all, (history) => history.lists("two", root, "")), lost);
});

test("what another client could have seen is durable", () => {
  const make = (history: History) => {
    history.file("one", 10, "a");
    history.step("two", { kind: "lookup", parent: root, name: "other" }, absent); // had the lease of the directory
    history.file("one", 11, "b");
  };
  dies(make, (history) => history.lists("two", root, "a:10"));
  assert.throws(() => dies(make, (history) => history.lists("two", root, "")), lost);
});

/** Client "one" copies a block of inode 10 to 11. */
function copies(history: History): void {
  history.file("one", 10, "source");
  history.file("one", 11, "target");
  history.write("one", 10, 100, 0, block);
  history.checker.nothingUnsynced("one");
  const copy = { kind: "copyRange", inode: 11, offset: 0, source: 10, sourceOffset: 0, length: block } as const;
  history.step("one", copy, { kind: "written", length: block });
}

test("a write to the source of a copy proves nothing of the copy, a look at its target does", () => {
  const make = (look: (history: History) => void) => (history: History) => {
    copies(history);
    look(history);
  };
  const writes = make((history) => history.write("two", 10, 200, 0, block));
  dies(writes, (history) => history.read("two", 11, 0, [100, block]));
  dies(writes, (history) => history.step("two", { kind: "getAttributes", inode: 11 }, attributes(11, { size: 0 })));
  const looks = make((history) =>
    history.step("two", { kind: "getAttributes", inode: 11 }, attributes(11, { size: block })),
  );
  dies(looks, (history) => history.read("two", 11, 0, [100, block]));
  assert.throws(() => {
    dies(looks, (history) => history.step("two", { kind: "getAttributes", inode: 11 }, attributes(11, { size: 0 })));
  }, lost);
});

test("what is durable stays so where something that came before it is not", () => {
  const make = (history: History) => {
    copies(history);
    history.write("two", 10, 200, 0, 2 * block);
    history.sync("two", 10);
    history.checker.clientDied("two");
    history.checker.sessionEnded("two");
  };
  dies(make, (history) => history.read("three", 10, 0, [200, 2 * block]));
  assert.throws(() => dies(make, (history) => history.read("three", 10, 0, [100, block])), lost);
});

test("a directory that gets a new parent is there to stay, with all before it; one that is removed is not", () => {
  const make = (history: History) => {
    history.directory("one", 20, "d");
    history.directory("one", 21, "e");
    history.directory("one", 22, "c", 20);
    history.directory("one", 23, "c", 21);
    history.checker.nothingUnsynced("one");
    history.file("one", 10, "a");
  };
  const names = (history: History, parent: number, inodes: Record<string, number>) => {
    const entries = Object.entries(inodes).map(([name, inode]) => ({ name, inode }));
    history.step("two", { kind: "readDirectory", inode: parent }, { kind: "entries", entries });
  };
  const moves = (history: History) => {
    make(history);
    const move = { kind: "rename", parent: 20, name: "c", newParent: 21, newName: "moved", noReplace: false } as const;
    history.step("one", move, done);
  };
  dies(moves, (history) => names(history, 21, { c: 23, moved: 22 }));
  dies(moves, (history) => names(history, root, { a: 10, d: 20, e: 21 }));
  assert.throws(() => dies(moves, (history) => names(history, 21, { c: 23 })), lost);
  assert.throws(() => dies(moves, (history) => names(history, root, { d: 20, e: 21 })), lost);
  const removes = (history: History) => {
    make(history);
    history.step("one", { kind: "removeDirectory", parent: 20, name: "c" }, done);
    history.step("two", { kind: "removeDirectory", parent: 21, name: "c" }, done);
  };
  dies(removes, (history) => names(history, 20, {}));
  dies(removes, (history) => names(history, 20, { c: 22 }));
});

test("an operation that began before a change proves nothing of it, unless it saw it", () => {
  const make = (name: string, outcome: Parameters<History["checker"]["returned"]>[1]) => (history: History) => {
    const lookup = history.call("two", { kind: "lookup", parent: root, name });
    history.file("one", 10, "a");
    history.checker.returned(lookup, outcome);
  };
  dies(make("other", absent), (history) => history.lists("two", root, ""));
  dies(make("a", attributes(10, {})), (history) => history.lists("two", root, "a:10"));
  assert.throws(() => dies(make("a", attributes(10, {})), (history) => history.lists("two", root, "")), lost);
});

/** A file with two durable blocks of write 100, at client "one". */
function withFile(history: History): void {
  history.file("one", 10, "file", { open: true });
  history.write("one", 10, 100, 0, 2 * block);
  history.sync("one", 10);
}

test("an overwrite may be torn at blocks, and lost though later operations on other inodes stay", () => {
  const make = (history: History) => {
    withFile(history);
    history.write("one", 10, 200, 0, 2 * block);
    history.file("one", 11, "b");
  };
  for (const names of ["file:10", "file:10 b:11"]) {
    for (const first of [100, 200]) {
      for (const second of [100, 200]) {
        dies(make, (history) => {
          history.lists("two", root, names);
          history.read("two", 10, 0, [first, block], [second, block]);
        });
      }
    }
  }
  const half = block / 2;
  assert.throws(() => dies(make, (history) => history.read("two", 10, 0, [200, half], [100, block + half])), lost);
});

test("an overwrite is not left without what it depends on", () => {
  const make = (history: History) => {
    withFile(history);
    history.step(
      "one",
      { kind: "setAttributes", inode: 10, change: { mode: 0o600 } },
      attributes(10, { mode: 0o600, size: 2 * block }),
    );
    history.write("one", 10, 200, 0, block);
    history.write("one", 10, 300, block, block);
  };
  const look = (mode: number, first: number, second: number) => {
    dies(make, (history) => {
      history.step("two", { kind: "getAttributes", inode: 10 }, attributes(10, { mode, size: 2 * block }));
      history.read("two", 10, 0, [first, block], second === 300 ? [300, block, block] : [second, block]);
    });
  };
  look(0o644, 100, 100);
  look(0o600, 100, 100);
  look(0o600, 200, 100);
  look(0o600, 200, 300);
  look(0o600, 100, 300);
  assert.throws(() => look(0o644, 200, 100), lost);
});

test("of a write that also moves the end nothing is left without the overwrites before it", () => {
  const make = (history: History) => {
    withFile(history);
    history.write("one", 10, 200, 0, block);
    history.write("one", 10, 300, block, 2 * block);
  };
  const look = (first: number, second: number) => {
    dies(make, (history) => {
      history.step("two", { kind: "getAttributes", inode: 10 }, attributes(10, { size: 2 * block }));
      history.read("two", 10, 0, [first, block], second === 300 ? [300, block, block] : [second, block]);
    });
  };
  look(100, 100);
  look(200, 100);
  look(200, 300);
  assert.throws(() => look(100, 300), lost);
});

test("a change of metadata is not left without the overwrites of the inode before it", () => {
  const make = (history: History) => {
    withFile(history);
    history.write("one", 10, 200, 0, block);
    const rename = {
      kind: "rename",
      parent: root,
      name: "file",
      newParent: root,
      newName: "new",
      noReplace: false,
    } as const;
    history.step("one", rename, done);
  };
  dies(make, (history) => history.read("two", 10, 0, [100, block]));
  dies(make, (history) => {
    history.lists("two", root, "new:10");
    history.read("two", 10, 0, [200, block]);
  });
  assert.throws(() => {
    dies(make, (history) => {
      history.lists("two", root, "new:10");
      history.read("two", 10, 0, [100, block]);
    });
  }, lost);
});

test("who changes what another client has only looked at proves nothing of what that made of it", () => {
  const make = (history: History) => {
    history.directory("one", 20, "d");
    history.checker.nothingUnsynced("one");
    history.file("one", 10, "a", { parent: 20 });
    const unnamed = { kind: "createUnnamed", parent: root, mode: 0o644 } as const;
    history.step("one", unnamed, attributes(11, { linkCount: 0 }));
    const access = { kind: "setAccessList", inode: root, which: "default", list: "75454" } as const;
    history.step("two", access, done);
  };
  dies(make, (history) => history.lists("two", 20, ""));
  dies(make, (history) => history.lists("two", 20, "a:10"));
});

test("a copy may outlive what was overwritten in its source before, and with it what others made in its place", () => {
  const make = (history: History) => {
    withFile(history);
    history.file("one", 11, "copy");
    history.checker.nothingUnsynced("one");
    history.write("one", 10, 200, 0, block);
    const copy = { kind: "copyRange", inode: 11, offset: 0, source: 10, sourceOffset: 0, length: block } as const;
    history.step("one", copy, { kind: "written", length: block });
    history.step("one", { kind: "unlink", parent: root, name: "copy" }, done);
    history.directory("two", 20, "copy");
    history.file("one", 12, "inside", { parent: 20 });
  };
  for (const [tag, inside] of [
    [100, ""],
    [200, "inside:12"],
    [100, "inside:12"],
    [200, ""],
  ] as const) {
    dies(make, (history) => {
      history.lists("two", 20, inside);
      history.read("two", 10, 0, [tag, block]);
    });
  }
  assert.throws(() => dies(make, (history) => history.lists("two", root, "copy:11 file:10")), lost);
});

test("bytes behind the old end come with the size, whole", () => {
  const make = (history: History) => {
    withFile(history);
    history.write("one", 10, 200, block, 2 * block);
  };
  const size = (bytes: number) => attributes(10, { size: bytes });
  const look = (bytes: number, ...parts: [number, number][]) => {
    dies(make, (history) => {
      history.step("two", { kind: "getAttributes", inode: 10 }, size(bytes));
      history.read("two", 10, block, ...parts);
    });
  };
  look(2 * block, [0x64, block]);
  assert.throws(() => look(3 * block, [100, block]), lost);
});

test("a survivor goes on with what is left, and its old handles are told of the loss once", () => {
  const make = () => {
    const history = new History();
    const opened = history.file("one", 10, "a", { open: true });
    history.sync("one", 10);
    history.step("one", { kind: "setAttributes", inode: 10, change: { mode: 0o600 } }, attributes(10, { mode: 0o600 }));
    history.checker.sessionAtRisk("one");
    return { history, opened };
  };
  const mode = (history: History, client: string, value: number) =>
    history.step(client, { kind: "getAttributes", inode: 10 }, attributes(10, { mode: value }));

  const kept = make();
  mode(kept.history, "two", 0o600);
  mode(kept.history, "one", 0o600);
  kept.history.sync("one", 10, kept.opened);

  const dropped = make();
  mode(dropped.history, "two", 0o644);
  dropped.history.checker.sessionEnded("one");
  mode(dropped.history, "one", 0o644);
  assert.throws(() => dropped.history.sync("one", 10, dropped.opened), /nobody has been told/);

  const told = make();
  mode(told.history, "two", 0o644);
  told.history.checker.failedSomehow(told.history.call("one", { kind: "sync", inode: 10, handle: told.opened }));
  told.history.sync("one", 10, told.opened);
});

test("a session that goes on loses nothing", () => {
  const history = new History();
  history.file("one", 10, "a");
  history.checker.sessionAtRisk("one");
  history.checker.sessionGoesOn("one");
  assert.throws(() => history.lists("two", root, ""), lost);
});

test("a listing may show what the end of its session took before it returned", () => {
  const make = (name: string) => {
    const history = new History();
    history.call("one", { kind: "create", parent: root, name, type: "file", mode: 0o644, target: "", open: false });
    const listing = history.call("one", { kind: "readDirectory", inode: root });
    history.checker.sessionAtRisk("one");
    history.step("one", { kind: "lookup", parent: root, name: "a" }, absent);
    return { history, listing };
  };
  const entries = { kind: "entries", entries: [{ name: "a", inode: 10 }] } as const;
  const { history, listing } = make("a");
  history.checker.returned(listing, entries);
  history.lists("two", root, "");
  const { history: other, listing: wrong } = make("b");
  assert.throws(() => other.checker.returned(wrong, entries), lost);
});

test("a store into mapped memory takes effect until msync returns, and is lost before", () => {
  const store = { kind: "store", inode: 10, offset: 100, length: 50, tag: 200 } as const;
  const make = (history: History) => {
    withFile(history);
    history.checker.abandon(history.call("one", store));
  };
  dies(make, (history) => history.read("two", 10, 0, [100, block]));
  const history = new History();
  withFile(history);
  const id = history.call("one", store);
  history.read("two", 10, 0, [100, block]);
  history.checker.returned(id, done);
  assert.throws(() => history.read("two", 10, 0, [100, block]), lost);
});

test("locks of a dead client go with its session, not before", () => {
  const lock = (owner: number) =>
    ({ kind: "lock", inode: 10, owner, mode: "exclusive", start: 0, end: 9, wait: false }) as const;
  const history = new History();
  withFile(history);
  history.step("one", lock(1), done);
  history.step("two", lock(1), { kind: "failed", errno: "EAGAIN" });
  history.checker.clientDied("one");
  history.step("two", lock(1), { kind: "failed", errno: "EAGAIN" });
  history.checker.sessionEnded("one");
  history.step("two", lock(1), done);
  assert.throws(() => history.step("two", lock(2), done), lost);
});

test("writes under way at the end of a session: whole, torn or not at all", () => {
  for (const tags of [
    [100, 100],
    [200, 100],
    [100, 200],
    [200, 200],
  ] as const) {
    dies(
      (history) => {
        withFile(history);
        history.checker.abandon(history.call("one", write(10, 200, 0, 2 * block)));
      },
      (history) => history.read("two", 10, 0, [tags[0], block], [tags[1], block]),
    );
  }
});
