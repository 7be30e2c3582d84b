/**
 * Leases, fetched, used, recalled and given back in any order, against a leader that grants, recalls and loses answers as the
 * protocol allows: what an operation relies on is never what the leader may have given to somebody else, and nobody waits for ever.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { settle } from "../wire/testing/memory-network.ts";
import { satisfies } from "./lease-rules.ts";
import { type Asked, LeaseSetup, leased, type Waiting } from "./testing/lease-setup.ts";

const inode = 9;

type Step =
  | { readonly kind: "use"; readonly mode: LeaseMode; readonly forData: "read" | "write" | undefined }
  | { readonly kind: "done" | "change" | "answer" | "commit" | "forget" }
  | { readonly kind: "recall"; readonly mode: LeaseMode };

const mode = fc.constantFrom<LeaseMode>("shared", "exclusive");
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("use" as const),
    mode,
    forData: fc.constantFrom("read" as const, "write" as const, undefined),
  }),
  fc.record({ kind: fc.constant("recall" as const), mode }),
  fc.record({ kind: fc.constantFrom("done" as const, "change" as const, "answer" as const) }),
  fc.record({ kind: fc.constantFrom("answer" as const, "commit" as const, "forget" as const) }),
);

interface Use {
  readonly waiting: Waiting;
  readonly mode: LeaseMode;
  readonly forData: "read" | "write" | undefined;
  /** What was recalled before it was asked for. */
  readonly recalled: ReadonlyMap<number, LeaseMode>;
}

/** The leader's part of the protocol, for one inode and one client; and what the client's kernel does. */
class Leader {
  readonly setup = new LeaseSetup();
  readonly #hasPages: boolean;
  #mode: LeaseMode | undefined;
  #grant = 0;
  #nextGrant = 100;
  using: Use[] = [];
  /** Grants that were recalled, and for what. */
  #recalled = new Map<number, LeaseMode>();
  #position = 0;
  /** The kernel has read pages since it was last asked to give them up. */
  #kernelHasPages = false;
  readonly #looked = new Set<Asked>();

  constructor(hasPages: boolean) {
    this.#hasPages = hasPages;
    if (hasPages) this.setup.kernel.withPages.add(inode);
  }

  async make(one: Step): Promise<void> {
    if (one.kind === "use") {
      const { mode, forData } = one;
      this.using.push({ waiting: this.setup.use(inode, mode, forData), mode, forData, recalled: this.#recalled });
    } else if (one.kind === "recall") await this.#recall(one.mode);
    else if (one.kind === "done") this.#done();
    else if (one.kind === "change") this.#change();
    else if (one.kind === "answer") await this.#answer();
    else if (one.kind === "commit") await this.setup.commit(this.#position);
    else await this.#forgetPages();
    await settle();
    this.#check();
  }

  /** Everything ends: whoever uses is done, all is answered, committed and forgotten. */
  async end(): Promise<void> {
    for (let round = 0; round < 60; round++) {
      while (this.#done());
      for (const kind of ["commit", "forget", "answer"] as const) await this.make({ kind });
    }
    assert.equal(this.using.length, 0, "somebody waits for ever");
    assert.equal(this.setup.givingBack.count, 0, "something leaves for ever");
    const wanted = this.#recalled.get(this.#grant);
    assert.ok(wanted === undefined || this.#mode === undefined || (wanted === "shared" && this.#mode === "shared"));
  }

  #check(): void {
    const node = this.setup.leases.get(inode);
    for (const one of this.using) {
      if (one.waiting.node === undefined) continue;
      assert.ok(satisfies(node?.mode, one.mode), `used as ${one.mode}, held: ${node?.mode}`);
      assert.ok(satisfies(this.#mode, one.mode), `used as ${one.mode}, the leader knows of ${this.#mode}`);
      assert.equal(node!.grant, this.#grant);
      const wanted = one.recalled.get(this.#grant);
      const isLate = wanted === "exclusive" || (wanted === "shared" && one.mode === "exclusive");
      assert.ok(!isLate || (this.#hasPages && one.forData !== undefined), "used although it was recalled before");
    }
    for (const asked of this.setup.asked) {
      if (asked.name !== "leader.releaseLeases" || this.#looked.has(asked)) continue;
      this.#looked.add(asked);
      assert.ok(this.#position <= this.setup.journal.committedPosition, "given back before it was committed");
      assert.ok(!this.#hasPages || !this.#kernelHasPages, "given back while the kernel has pages");
    }
  }

  #done(): boolean {
    const one = this.using.find(({ waiting }) => waiting.node !== undefined);
    if (one === undefined) return false;
    this.using = this.using.filter((other) => other !== one);
    if (one.forData === "read") this.#kernelHasPages = true;
    this.setup.leases.done(one.waiting.node!);
    return true;
  }

  /** By somebody who has it exclusively. */
  #change(): void {
    const one = this.using.find(({ waiting, mode: wanted }) => waiting.node !== undefined && wanted === "exclusive");
    if (one !== undefined) one.waiting.node!.lastPosition = ++this.#position;
  }

  async #forgetPages(): Promise<void> {
    if (this.setup.isForgettingPages) this.#kernelHasPages = false;
    await this.setup.pagesForgotten();
  }

  async #recall(wanted: LeaseMode): Promise<void> {
    if (this.#mode === undefined || (wanted === "shared" && this.#mode === "shared")) return;
    const before = this.#recalled.get(this.#grant);
    this.#recalled = new Map(this.#recalled).set(this.#grant, before === "exclusive" ? before : wanted);
    await this.setup.recall(inode, this.#grant, wanted);
  }

  async #answer(): Promise<void> {
    const asked = this.setup.asked.shift();
    if (asked?.name === "leader.acquireLease") {
      // The release of what it had may be on its way: then that is converted.
      this.#mode = this.#mode === "exclusive" ? "exclusive" : asked.body.mode;
      this.#grant = this.#nextGrant++;
      await asked.answer(leased(inode, this.#mode!, this.#grant));
    } else if (asked !== undefined) {
      const given = asked.body.leases.find((one: { grant: number }) => one.grant === this.#grant);
      if (given !== undefined) this.#mode = given.keepShared ? "shared" : undefined;
      await asked.answer();
    }
  }
}

test("nobody relies on a lease that the leader may have given to others, and all get theirs", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(step, { minLength: 20, maxLength: 60, size: "max" }),
      async (hasPages, steps) => {
        const leader = new Leader(hasPages);
        for (const one of steps) await leader.make(one);
        await leader.end();
      },
    ),
    { numRuns: 200 },
  );
});
