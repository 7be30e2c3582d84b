/** A directory that another mount has moved is moved and replaced here, with and without a look at it before. */
import { strict as assert } from "node:assert";
import { mkdirSync, renameSync, rmdirSync, statSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

for (const kernel of ["this kernel", "6.1"]) {
  test(`a directory that was moved elsewhere is renamed (${kernel})`, { skip }, async (context) => {
    const cluster = await Cluster.start(context);
    const options = kernel === "6.1" ? ["-o", "as-kernel=6.1"] : [];
    const [here, there] = [await cluster.mount("here", options), await cluster.mount("there", options)];
    for (const name of ["one", "two", "three"]) mkdirSync(join(here.point, name));
    const moves = { moved: ["two/moved", "three/moved"], replaced: ["three/other", "two/replaced"] } as const;
    for (const [name, [from, to]] of Object.entries(moves)) {
      mkdirSync(join(here.point, "one", name));
      if (name === "replaced") mkdirSync(join(here.point, from));
      statSync(join(there.point, "one", name));
      renameSync(join(here.point, "one", name), join(here.point, "two", name));
      const rename = () => renameSync(join(there.point, from), join(there.point, to));
      // Where this no longer fails, docs/promises.md (Kernels) promises too little.
      assert.throws(rename, { errno: -constants.errno.ESTALE });
      statSync(join(there.point, "two", name));
      rename();
      assert.ok(statSync(join(here.point, to)).isDirectory());
      assert.throws(() => statSync(join(here.point, from)), { code: "ENOENT" });
      rmdirSync(join(here.point, to));
    }
  });
}
