/** What the applications can do, how often each of it is done, and what some simulations do more of. */

/** What a simulation can do without, until all of it is there. */
export interface Abilities {
  readonly mapped: boolean;
  readonly locks: boolean;
  readonly extended: boolean;
}

/** What the client can do by now. */
export const abilities: Abilities = { mapped: true, locks: true, extended: true };

export const kindsOf: Readonly<Record<keyof Abilities, readonly string[]>> = {
  mapped: ["load", "store"],
  locks: ["lock", "unlock"],
  extended: [
    ...["setExtended", "getExtended", "listExtended", "removeExtended"],
    ...["setAccessList", "getAccessList", "removeAccessList"],
  ],
};
/** What is done, of so many. Reads and writes need an open file, so opening is frequent. */
export const weights = {
  lookup: 8,
  getAttributes: 7,
  chmod: 3,
  chown: 2,
  truncate: 8,
  createFile: 10,
  makeDirectory: 4,
  symlink: 2,
  link: 4,
  unlink: 8,
  removeDirectory: 3,
  rename: 8,
  exchange: 2,
  readLink: 1,
  open: 10,
  close: 6,
  read: 18,
  write: 18,
  overwrite: 12,
  append: 6,
  writeDurably: 4,
  punch: 4,
  zero: 3,
  reserve: 2,
  copy: 4,
  makeUnnamed: 2,
  linkUnnamed: 4,
  sync: 3,
  syncAll: 1,
  readDirectory: 5,
  changeAll: 2,
  readAll: 2,
  load: 4,
  store: 4,
  setExtended: 3,
  getExtended: 2,
  listExtended: 1,
  removeExtended: 1,
  setAccessList: 2,
  getAccessList: 1,
  removeAccessList: 1,
  lock: 3,
  unlock: 3,
} as const;

export type Kind = keyof typeof weights;
export const kinds = Object.keys(weights) as Kind[];
export type Weights = Readonly<Partial<Record<Kind, number>>>;

/** What some simulations do more of than of everything else. */
export const emphases: readonly (readonly Kind[])[] = [
  [],
  ["read", "write", "append", "truncate"],
  [
    "createFile",
    "link",
    "unlink",
    "rename",
    "makeDirectory",
    "removeDirectory",
    "lookup",
    "readDirectory",
    "changeAll",
  ],
  ["write", "read", "readAll"],
  ["rename", "exchange", "makeDirectory", "createFile", "lookup"],
  ["append", "read", "open", "getAttributes"],
  ["store", "load", "read", "write"],
  ["setExtended", "getExtended", "chmod", "getAttributes", "changeAll"],
  ["lock", "unlock", "read", "write"],
  ["overwrite", "read"],
  ["punch", "zero", "overwrite", "read", "truncate"],
  ["copy", "open", "write", "punch", "read"],
  ["writeDurably", "write", "sync", "createFile", "rename"],
  ["makeUnnamed", "linkUnnamed", "write", "unlink"],
  ["setAccessList", "removeAccessList", "chmod", "createFile", "makeDirectory", "makeUnnamed"],
];
/** Done only where it is done more than others: elsewhere it would take the place of what everybody does. */
export const seldom: readonly Kind[] = ["exchange", "changeAll", "readAll"];
export const emphasis = 5;
/** Of overwriting: whatever else is done to the file brings it back to one client. */
export const emphasisOnOverwrites = 30;
