/** What the figures work with: parts of the Linux tree of Debian's linux-source-6.1 as plain archives, and a git repository. */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { timeShell } from "./environment.ts";

const packaged = "/usr/src/linux-source-6.1.tar.xz";
const cache = "/var/tmp/brinefs-test-input";

export const smallTreeFiles = 3_666;
export const wholeTreeEntries = 83_731;
export const repositoryFiles = 20_000;

/** Makes an input once and keeps it: `make` writes it to the path it is given. */
async function kept(name: string, make: (path: string) => Promise<unknown>): Promise<string> {
  mkdirSync(cache, { recursive: true });
  const path = join(cache, name);
  if (existsSync(path)) return path;
  const fresh = `${path}.${process.pid}`;
  await make(fresh);
  renameSync(fresh, path);
  return path;
}

export function wholeTree(): Promise<string> {
  if (!existsSync(packaged)) throw new Error(`${packaged} is missing: install the package linux-source-6.1`);
  return kept("linux-6.1.tar", (path) => timeShell(`xz -dc ${packaged} > ${path}`));
}

/** The directories that the peers' scripts unpack, too. */
export async function smallTree(): Promise<string> {
  const whole = await wholeTree();
  const parts = "fs mm kernel ipc init crypto block lib".split(" ").map((one) => `linux-source-6.1/${one}`);
  return kept(`linux-6.1-${smallTreeFiles}.tar`, (path) =>
    timeShell(`
      mkdir ${path}.d; tar xf ${whole} -C ${path}.d ${parts.join(" ")}
      tar --sort=name --owner=0 --group=0 --numeric-owner -C ${path}.d/linux-source-6.1 -cf ${path} .
      rm -rf ${path}.d`),
  );
}

/** A bare repository with one commit of so many files. */
export async function gitRepository(): Promise<string> {
  const whole = await wholeTree();
  return kept(`linux-6.1-${repositoryFiles}.git`, (path) =>
    timeShell(`
      mkdir ${path}.d; cd ${path}.d
      tar tf ${whole} | awk '!/\\/$/' | head -n ${repositoryFiles} > ../names.${process.pid} || true
      tar xf ${whole} --strip-components=1 -T ../names.${process.pid}; rm ../names.${process.pid}
      git init -q; git add -Af .; git -c user.name=b -c user.email=b@example.org -c gc.auto=0 commit -qm all
      git clone -q --bare . ${path}; rm -rf ${path}.d`),
  );
}
