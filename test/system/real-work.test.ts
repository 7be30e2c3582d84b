/** What people do on their first day: unpack a tree, compare it, commit it, copy it, move it, remove it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Cluster, full, hasProgram, root, runProgram, shell, whyNoMount } from "./cluster.ts";
import { sourceArchive } from "./source-tree.ts";

const skip = whyNoMount() ?? false;
const timeoutMs = full ? 1_800_000 : 120_000;

test("a source tree goes in and comes out unchanged", { skip }, async (context) => {
  const archive = await sourceArchive(context);
  const cluster = await Cluster.start(context);
  const mount = await cluster.mount("mnt");
  const { point } = mount;

  await shell(`mkdir ${point}/tree && tar xf ${archive} -C ${point}/tree && ${root}/bin/brine sync ${point}`, {
    timeoutMs,
  });
  await mount.unmount();
  await cluster.mount("mnt");
  await shell(`tar df ${archive} -C ${point}/tree`, { timeoutMs });

  await context.test("git", { skip: hasProgram("git") ? false : "git is not installed" }, async () => {
    await shell(
      `mkdir ${point}/git && cd ${point}/tree
       find . -type f -not -name '.git*' | sort | awk 'NR <= ${full ? 20_000 : 400}' | tar c -T - | tar x -C ../git
       cd ../git && git init -q && git config gc.auto 0 && git add -A && git -c user.name=t -c user.email=t@example.org commit -qm all
       git fsck --strict && test -z "$(git status --porcelain)" && git gc -q && git fsck`,
      { timeoutMs },
    );
  });
  await context.test("cp -a, mv, rm -rf", async () => {
    await shell(
      `cd ${point} && cp -a git copy && diff -r git copy && mkdir sub && mv copy sub/moved && diff -r git sub/moved
       mv sub/moved git/back && rm -rf sub git/back && test ! -e sub`,
      { timeoutMs },
    );
  });
  await context.test("rsync -a", { skip: hasProgram("rsync") ? false : "rsync is not installed" }, async () => {
    await shell(
      `cd ${point} && rsync -a git/ synced/ && test -z "$(rsync -ani --checksum git/ synced/)" && rm -rf synced`,
      { timeoutMs },
    );
  });
  await context.test("npm ci of brinefs itself", { skip: full ? false : "only with npm run test:system" }, async () => {
    await shell(
      `git clone -q ${root} ${point}/brinefs && cd ${point}/brinefs && npm ci --silent && bin/brine --version`,
      { timeoutMs },
    );
  });
  assert.deepEqual(
    (await cluster.status()).problems.filter((one: string) => !one.includes("metadata")),
    [],
  );
});

/** Who works in a directory while others go its path, and replace and remove files there: a pipe of shell and git. */
const working = `
import os, sys, time
os.makedirs("work/in"); os.chdir("work/in")
here = os.getcwd()
walker = os.fork()
if walker == 0:
    while os.getppid() != 1:
        try: os.stat(here)
        except OSError: pass
until = time.monotonic() + float(sys.argv[1])
replacer = os.fork()
if replacer == 0:
    while time.monotonic() < until:
        for name in ("../index", "../index", "other"):
            with open(f"{name}.lock", "w") as file: file.write("x" * 100)
            os.rename(f"{name}.lock", name)
        os.unlink("other")
        time.sleep(0.005)
    os._exit(0)
failed = 0
while time.monotonic() < until:
    try: os.getcwd()
    except FileNotFoundError: failed += 1
os.kill(walker, 9)
assert os.waitpid(replacer, 0)[1] == 0
print(failed)
`;

test("getcwd answers in a directory whose path others go while files are replaced there", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mnt");
  const { stdout, stderr } = await runProgram("python3", ["-c", working, "3"], { cwd: point, timeoutMs });
  assert.equal(stdout.trim(), "0", `getcwd failed ${stdout} ${stderr}`);
});
