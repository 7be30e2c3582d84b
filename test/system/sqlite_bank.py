"""
A SQLite database of accounts, between which several processes transfer money at the same time.

    python3 sqlite_bank.py make FILE JOURNAL-MODE
    python3 sqlite_bank.py write FILE JOURNAL-MODE WRITER SECONDS     says which transfers are committed
    python3 sqlite_bank.py check FILE < WRITER-NUMBER-LINES           ends with 1 if one of them is missing
"""
import random
import sqlite3
import sys
import time

ACCOUNTS = 50
BALANCE = 1000


def connect(path, mode):
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    got = database.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]
    assert got == mode, f"journal mode {got}"
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA cache_size=-64")  # small: pages are spilled before the commit, and read again
    return database


def make(path, mode):
    database = connect(path, mode)
    database.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
    database.execute("CREATE TABLE transfers (writer INTEGER, number INTEGER, filler BLOB, PRIMARY KEY (writer, number))")
    database.execute("BEGIN")
    database.executemany("INSERT INTO accounts VALUES (?, ?)", [(account, BALANCE) for account in range(ACCOUNTS)])
    database.execute("COMMIT")


def write(path, mode, writer, seconds):
    database = connect(path, mode)
    chance = random.Random(writer)
    end = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < end:
        number += 1
        payer, payee = chance.sample(range(ACCOUNTS), 2)
        amount = chance.randrange(100)
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", (amount, payer))
        database.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", (amount, payee))
        database.execute("INSERT INTO transfers VALUES (?, ?, ?)", (writer, number, bytes(chance.randrange(6000))))
        if number % 7 == 0:  # pages become free, and are used again
            database.execute("UPDATE transfers SET filler = NULL WHERE writer = ?", (writer,))
        if number % 10 == 0:
            database.execute("ROLLBACK")
            continue
        database.execute("COMMIT")
        print(writer, number, flush=True)
        # SQLite's own waiting is not fair: who has just had the lock would get it again and again.
        time.sleep(0.002)


def check(path):
    database = sqlite3.connect(path)
    found = database.execute("PRAGMA integrity_check").fetchone()[0]
    assert found == "ok", found
    total = database.execute("SELECT sum(balance) FROM accounts").fetchone()[0]
    assert total == ACCOUNTS * BALANCE, f"{total} in all accounts"
    there = set(database.execute("SELECT writer, number FROM transfers"))
    told = {tuple(map(int, line.split())) for line in sys.stdin}
    assert told <= there, f"committed, but missing: {sorted(told - there)[:10]}"
    rolled_back = [number for _, number in there if number % 10 == 0]
    assert not rolled_back, f"rolled back, but there: {rolled_back[:10]}"
    print(len(there))


{"make": make, "write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
