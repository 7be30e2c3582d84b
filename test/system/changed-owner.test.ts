/** A file's owner is changed on one mount: the other one's kernel, which checks who may change attributes, goes by the new one. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, type Mount, scratch, undo, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
/** A user that nobody on the machine is. */
const alice = 41_001;

/** Of one volume, at places that she reaches. */
async function twoMounts(context: TestContext, options: readonly string[] = []): Promise<[Mount, Mount]> {
  const directory = scratch(context);
  chmodSync(directory, 0o755);
  const cluster = await Cluster.start(context, { directory });
  return [await cluster.mount("here", options), await cluster.mount("there", options)];
}

/** What `expression` gives in a process of hers, which looks at nothing before. Descriptor 3 is passed on. */
function asAlice(expression: string, descriptor: number | "ignore" = "ignore"): string {
  const program = `import os
try: ${expression}; print("done")
except OSError as error: print(type(error).__name__)`;
  const stdio = ["ignore", "pipe", "inherit", descriptor] as const;
  const { stdout } = spawnSync("python3", ["-c", program], { uid: alice, gid: alice, stdio: [...stdio] });
  return stdout.toString().trim();
}

for (const kernel of ["this kernel", "6.1"]) {
  test(`only who owns a file now may change its mode and times (${kernel})`, { skip }, async (context) => {
    const [here, there] = await twoMounts(context, kernel === "6.1" ? ["-o", "as-kernel=6.1"] : []);
    mkdirSync(join(here.point, "open"));
    chmodSync(join(here.point, "open"), 0o777);
    // What the other kernel knows before: nothing, a name and attributes, only a name since it has made the file itself.
    const ways = { unknown: () => {}, looked: (path: string) => statSync(path), made: () => {} };
    for (const [way, look] of Object.entries(ways)) {
      const [file, same] = [here, there].map(({ point }) => join(point, "open", way)) as [string, string];
      writeFileSync(way === "made" ? same : file, "");
      readdirSync(join(there.point, "open"));
      look(same);
      chownSync(file, alice, -1);
      assert.equal(asAlice(`os.chmod("${same}", 0o600)`), "done", way);
      assert.equal(asAlice(`os.utime("${same}", (5, 5))`), "done", way);
      chownSync(file, 0, -1);
      assert.equal(asAlice(`os.chmod("${same}", 0o666)`), "PermissionError", way);
      assert.equal(asAlice(`os.utime("${same}", (6, 6))`), "PermissionError", way);
      assert.equal(statSync(file).mode & 0o777, 0o600, way);
    }
  });
}

test("by a descriptor the former owner may nothing more, although nobody has asked for the file's attributes", {
  skip,
}, async (context) => {
  const [here, there] = await twoMounts(context);
  const [file, same] = [join(here.point, "file"), join(there.point, "file")];
  writeFileSync(same, "");
  chownSync(same, alice, -1);
  const descriptor = openSync(same, "r+");
  undo(context, () => closeSync(descriptor));
  const list = `struct.pack("<I4x", 2)[:4] + b"".join(struct.pack("<HHi", *one) for one in ((1, 6, -1), (4, 6, -1), (32, 6, -1)))`;
  const changes = {
    chmod: "os.fchmod(3, 0o4755)",
    chown: `os.fchown(3, -1, ${alice})`,
    utime: "os.utime(3, (5, 5))",
    list: `import struct; os.setxattr(3, "system.posix_acl_access", ${list})`,
  };
  for (const [name, change] of Object.entries(changes)) {
    chownSync(same, alice, -1);
    assert.equal(asAlice(change, descriptor), "done", name);
    chownSync(file, 0, 0);
    const { mode, mtimeMs, gid } = statSync(file);
    assert.equal(asAlice(change, descriptor), "PermissionError", name);
    const after = statSync(file);
    assert.deepEqual([after.mode, after.mtimeMs, after.gid], [mode, mtimeMs, gid], name);
  }
  // Who may do so to any file still may.
  chownSync(same, alice, -1);
  chownSync(file, 0, -1);
  const words = ["--reuid", "41002", "--clear-groups", "--inh-caps", "+fowner", "--ambient-caps", "+fowner"];
  const program = ["chmod", "611", "/proc/self/fd/3"];
  const stdio = ["ignore", "ignore", "inherit", descriptor] as const;
  const { status } = spawnSync("setpriv", [...words, ...program], { stdio: [...stdio] });
  assert.equal(status, 0);
  assert.equal(statSync(file).mode & 0o7777, 0o611);
});

test("by a descriptor the new owner may once somebody has asked for the file's attributes", {
  skip,
}, async (context) => {
  const [here, there] = await twoMounts(context);
  const descriptor = openSync(join(there.point, "file"), "w");
  undo(context, () => closeSync(descriptor));
  chownSync(join(here.point, "file"), alice, -1);
  fstatSync(descriptor);
  assert.equal(asAlice("os.fchmod(3, 0o600)", descriptor), "done");
  chownSync(join(here.point, "file"), 0, -1);
  fstatSync(descriptor);
  assert.equal(asAlice("os.fchmod(3, 0o666)", descriptor), "PermissionError");
});
