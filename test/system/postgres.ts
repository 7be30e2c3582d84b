/**
 * A PostgreSQL server whose data directory is on a mount, and pgbench against it. It runs as a user of its own (as root
 * it refuses to), with its socket elsewhere: what is under test is the data.
 */
import { strict as assert } from "node:assert";
import { existsSync, globSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Context, hasProgram, Program, runProgram, shell, waitFor } from "./cluster.ts";

/** Debian keeps them out of the path, one folder a version. */
const programs = globSync("/usr/lib/postgresql/*/bin").sort().at(-1) ?? "";
const userName = "postgres";
const clients = 4;

/** Why PostgreSQL can't be tested here, or undefined if it can. */
export function whyNoPostgres(): string | undefined {
  if (!existsSync(join(programs, "initdb"))) return "postgresql is not installed";
  return hasProgram("setpriv") ? undefined : "setpriv is not installed";
}

function asPostgres(program: string, args: readonly string[]): string[] {
  return ["--reuid", userName, "--regid", userName, "--init-groups", "--", join(programs, program), ...args];
}

export class Postgres {
  readonly #context: Context;
  readonly #data: string;
  readonly #local: string;
  #server: Program | undefined;
  /** Transactions that clients were told are committed. */
  #acknowledged = 0;
  /** Transactions of which no client knows how they ended. */
  #unknown = 0;

  private constructor(context: Context, data: string, local: string) {
    this.#context = context;
    this.#data = data;
    this.#local = local;
  }

  /** Makes a database with checksums in `directory`/data and starts it; `local` must not be on the mount. */
  static async start(context: Context, directory: string, local: string): Promise<Postgres> {
    const postgres = new Postgres(context, join(directory, "data"), local);
    mkdirSync(local, { recursive: true });
    await shell(`chown ${userName} ${local} && install -d -o ${userName} -m 0700 ${directory}`);
    const small = ["--wal-segsize", "1"]; // made faster, and more of them
    await postgres.#run("initdb", ["-D", postgres.#data, "--data-checksums", "-A", "trust", "--locale", "C", ...small]);
    await postgres.startServer();
    await postgres.#run("pgbench", ["-h", local, "-i", "-q", "postgres"]);
    return postgres;
  }

  /** Starts it, and waits until it has recovered what a crash left. */
  async startServer(): Promise<void> {
    const settings = ["listen_addresses=", "shared_buffers=4MB", "checkpoint_timeout=30s"];
    const args = ["-D", this.#data, "-k", this.#local, ...settings.flatMap((one) => ["-c", one])];
    const server = new Program(
      this.#context,
      "setpriv",
      asPostgres("postgres", args),
      join(this.#local, "postgres.log"),
    );
    this.#server = server;
    const isReady = async () => {
      assert.ok(server.running, `PostgreSQL ended:\n${server.log()}`);
      return (await runProgram(join(programs, "pg_isready"), ["-h", this.#local])).code === 0;
    };
    await waitFor("PostgreSQL", isReady, 60_000);
  }

  /** Ends it in order, and has it look through all its pages. */
  async stopAndVerify(): Promise<void> {
    assert.equal(await this.#server!.stop("SIGINT"), 0, this.#server!.log());
    await this.#run("pg_checksums", ["--check", "-D", this.#data]);
  }

  /** SIGKILL to all its processes: for PostgreSQL the same as a crash of its machine. */
  async killServer(): Promise<void> {
    const server = this.#server!;
    const { stdout } = await runProgram("pgrep", ["-P", String(server.pid)]);
    const children = stdout.split("\n").filter(Boolean).map(Number);
    server.signal("SIGKILL");
    for (const pid of children) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended by itself
      }
    }
    await server.ended;
    await waitFor("its processes to end", () => children.every((pid) => !existsSync(`/proc/${pid}`)));
  }

  /** Transactions for so long, while `trouble` goes on. They fail only if it ends the server: `survives` says false. */
  async work(seconds: number, trouble: () => Promise<void>, survives: boolean): Promise<void> {
    const args = ["-h", this.#local, "-n", "-c", String(clients), "-T", String(seconds), "postgres"];
    const [output] = await Promise.all([
      runProgram("setpriv", asPostgres("pgbench", args), { timeoutMs: 120_000 }),
      trouble(),
    ]);
    const said = output.stdout + output.stderr;
    assert.equal(output.code === 0, survives, `${said}\n${this.#server!.log()}`);
    const processed = Number(/actually processed: (\d+)/.exec(said)?.[1] ?? Number.NaN);
    assert.ok(processed > 0, said);
    this.#acknowledged += processed;
    if (!survives) this.#unknown += clients;
  }

  /** Each transaction is there as a whole or not at all, and none that was acknowledged is missing. */
  async check(): Promise<void> {
    const rows = await this.#query(
      `SELECT (SELECT count(*) FROM pgbench_history), (SELECT coalesce(sum(delta), 0) FROM pgbench_history),
         (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
         (SELECT sum(tbalance) FROM pgbench_tellers)`,
    );
    const [count, ...sums] = rows.split("|").map(Number) as [number, ...number[]];
    assert.ok(count >= this.#acknowledged, `${count} transactions of ${this.#acknowledged} acknowledged ones`);
    assert.ok(count <= this.#acknowledged + this.#unknown, `${count} transactions, ${this.#acknowledged} acknowledged`);
    assert.equal(new Set(sums).size, 1, rows);
    await this.#run("pg_amcheck", ["-h", this.#local, "--install-missing", "--heapallindexed", "postgres"]);
  }

  #query(sql: string): Promise<string> {
    return this.#run("psql", ["-h", this.#local, "-X", "-A", "-t", "-c", sql, "postgres"]);
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const output = await runProgram("setpriv", asPostgres(program, args), { timeoutMs: 120_000 });
    assert.equal(output.code, 0, `${program} ${args.join(" ")}\n${output.stdout}${output.stderr}`);
    return output.stdout.trim();
  }
}
