"""Does each guard of docs/reliability.md have a test that fails without it?

    python tests/without_guards.py [WORD ...]

Takes each guard (those whose name holds a WORD) out of a copy of the package in turn and runs the test that watches
it, which must pass on the copy as it is and fail without the guard. Prints a line for each; the exit status is 1 where
one is not watched. Takes half an hour, so it is not one of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
STORE, API, PROCESS, FAULTS, PRIVACY = (
    f"tests/service/test_{name}.py" for name in ("store", "api", "process", "faults", "privacy")
)
OFF = "if False:"
HANGS = 300  # seconds


@dataclass(frozen=True)
class Guard:
    """Without `text` of `file`, with `instead` in its place, `test` must fail."""

    name: str
    file: str
    text: str
    instead: str
    test: str


ERASED, MIGRATED, KEYS = (
    f"{API}::test_an_erased_reader_is_nowhere",
    f"{STORE}::test_a_migration_that_breaks_leaves_the_database_as_it_was",
    f"{STORE}::test_a_key_is_kept_as_a_digest_and_ends_when_revoked_or_expired",
)
EXCHANGED = f"{API}::test_models_are_exchanged_as_one_and_a_bad_one_is_refused"
BACKED_UP = f"{STORE}::test_a_backup_taken_while_others_write_restores_to_one_moment"
DELETED = f"{PRIVACY}::test_a_deleted_reader_is_in_no_run_database_log_export_or_backup"
HEAD = f"{FAULTS}::test_a_huge_head_is_refused_and_no_more_of_it_taken_in"
LARGE = f"{API}::test_a_large_body_is_refused_before_it_is_kept"

GUARDS = (
    Guard(
        "writes begin immediately", "service/store.py", '"BEGIN IMMEDIATE" if writes', '"BEGIN" if writes',
        f"{STORE}::test_eight_writers_at_once_lose_nothing[sqlite]",
    ),
    Guard(
        "a batch of ratings is one transaction", "service/store.py",
        "                connection.execute(statement, [{", "                for row in rows:\n"
        '                    connection.execute(statement, {"reader_id": reader_id, "changed": now, **row})\n'
        '                    connection.exec_driver_sql("COMMIT")\n'
        '                    connection.exec_driver_sql("BEGIN")\n'
        "                (lambda *_: None)(statement, [{",
        f"{STORE}::test_no_acknowledged_rating_is_lost_by_kill_9[sqlite]",
    ),
    Guard(
        "a full disk is known as one", "service/store.py", "if any(sign in f", "if False and any(sign in f",
        f"{STORE}::test_a_full_disk_is_said_and_survived",
    ),
    Guard(
        "a migration is one transaction", "service/store.py", '"BEGIN IMMEDIATE" if writes else "BEGIN"',
        '"SELECT 1"', f"{MIGRATED}[sqlite]",
    ),
    Guard(
        "a newer schema is refused", "service/schema.py", "if here is not None and here not in known:", OFF,
        f"{STORE}::test_a_newer_schema_is_refused[sqlite]",
    ),
    Guard(
        "a backup counts its rows", "service/backup.py", "if end != counts:", OFF,
        f"{STORE}::test_a_damaged_backup_restores_nothing[short]",
    ),
    Guard(
        "a backup names its schema", "service/backup.py",
        'line.get("schema") != schema.revision_of(connection)', "False",
        f"{STORE}::test_a_damaged_backup_restores_nothing[other]",
    ),
    Guard(
        "a backup goes into an empty database", "service/backup.py",
        "if any(connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() for table in TABLES):",
        OFF, f"{BACKED_UP}[sqlite]",
    ),
    Guard(
        "a backup on PostgreSQL is one moment", "service/backup.py", "store.reading(repeatable=True)",
        "store.reading()",
        f"{STORE}::test_a_backup_is_of_one_moment_whatever_is_written_between_two_tables[postgresql]",
    ),
    Guard(
        "keys are kept as digests", "service/keys.py", "return hashlib.sha256(secret.encode()).hexdigest()",
        "return secret", f"{KEYS}[sqlite]",
    ),
    Guard("keys end", "service/keys.py", "or not same or ended:", "or not same:", f"{KEYS}[sqlite]"),
    Guard("secrets are compared", "service/keys.py", "or not same or ended:", "or ended:", f"{KEYS}[sqlite]"),
    Guard(
        "roles are looked at", "service/keys.py", "if ROLES.index(role) < ROLES.index(needed):", OFF,
        f"{API}::test_keys_open_what_their_role_may_and_nothing_else",
    ),
    Guard(
        "beyond this machine a key is needed", "service/state.py",
        "if not (settings.is_local or settings.allow_open or self._has_key()):", OFF,
        f"{PROCESS}::test_it_refuses_to_start",
    ),
    Guard("files are checked", "artifact.py", "if _sha256(file) != entry.sha256:", OFF, EXCHANGED + "[sqlite]"),
    Guard(
        "an answer is of one run", "service/desk.py", "                _answer(served, group)",
                '                _answer(__import__("dataclasses").replace('
        "served, name=(self._models.previous or served).name), group)",
        f"{API}::test_while_models_are_exchanged_each_answer_is_wholly_of_one",
    ),
    Guard(
        "bodies are counted as they arrive", "service/guards.py", "                if len(body) > most:",
        "                if False:", LARGE,
    ),
    Guard(
        "posts of other sites are refused", "service/guards.py", 'if site in (b"cross-site", b"same-site") or (',
        "if False and (", f"{API}::test_posts_from_other_sites_are_refused",
    ),
    Guard(
        "other names are refused", "service/guards.py", "if self.hosts and name not in self.hosts:", OFF,
        f"{API}::test_another_name_for_this_machine_is_refused",
    ),
    Guard(
        "requests are limited", "service/guards.py", "allowed = left >= 1", "allowed = True",
        f"{API}::test_too_many_requests_are_told_to_wait",
    ),
    Guard(
        "answers have headers", "service/guards.py", "for header in HEADERS if", "for header in () if",
        f"{API}::test_every_answer_has_its_headers",
    ),
    Guard(
        "in a batch one fails alone", "service/desk.py", "            if len(names) == 1:", "            if True:",
        f"{API}::test_one_bad_request_in_a_batch_fails_alone",
    ),
    Guard(
        "ratings are set all or none", "service/routes/readers.py",
        "if not scale.contains([rating.stars])[0]:", OFF,
        f"{API}::test_ratings_are_set_all_or_none[sqlite]",
    ),
    Guard(
        "runs are rewritten without the reader", "service/erase.py", "save_run(rest, path, overwrite=True)", "pass",
        f"{ERASED}[sqlite]",
    ),
    Guard(
        "memory lets go of the reader", "service/models.py", "if self.active.name == name:", OFF, f"{ERASED}[sqlite]"
    ),
    Guard(
        "the write-ahead log lets go of the reader", "service/store.py", '"PRAGMA wal_checkpoint(TRUNCATE)"',
        '"PRAGMA wal_checkpoint(PASSIVE)"', f"{DELETED}[sqlite]",
    ),
    Guard(
        "a log that is still read is told of", "service/store.py", "            if busy:", "            if False:",
        f"{PRIVACY}::test_one_who_reads_meanwhile_does_not_keep_what_is_deleted",
    ),
    Guard(
        "another's checkpoint is waited for", "service/store.py", "and time.monotonic() < until:", "and False:",
        f"{PRIVACY}::test_those_who_write_meanwhile_are_not_in_the_way_of_deleting",
    ),
    Guard(
        "every served run forgets the reader", "service/routes/readers.py",
        "in service.models.paths.items()", "in list(service.models.paths.items())[:1]", f"{DELETED}[sqlite]",
    ),
    Guard(
        "examples of the report are rewritten", "service/erase.py", 'if "examples" in report:', "if False:",
        f"{DELETED}[sqlite]",
    ),
    Guard(
        "logs hold routes, not paths", "service/guards.py", "            if self.log_ids:", "            if True:",
        f"{PRIVACY}::test_logs_name_readers_and_books_only_if_told_to[False]",
    ),
    Guard(
        "metrics hold routes, not paths", "service/guards.py", '"path", "other")', '"path", scope["path"])',
        f"{PRIVACY}::test_metrics_name_nobody",
    ),
    Guard(
        "readiness is a write", "service/store.py", '"PRAGMA user_version = 0"', '"SELECT 1"',
        f"{FAULTS}::test_on_a_full_disk_it_stays_up_and_readable_and_recovers",
    ),
    Guard(
        "a full disk is an answer of its own", "service/problems.py", "(errors.StoreFullError, 507)",
        "(errors.StoreFullError, 500)", f"{FAULTS}::test_on_a_full_disk_it_stays_up_and_readable_and_recovers",
    ),
    Guard(
        "dead connections are replaced", "service/store.py", '"pool_pre_ping": True', '"pool_pre_ping": False',
        f"{FAULTS}::test_a_database_that_goes_away_and_comes_back",
    ),
    Guard(
        "a killed migration is one transaction", "service/store.py", '"BEGIN IMMEDIATE" if writes else "BEGIN"',
        '"SELECT 1"', f"{FAULTS}::test_a_migration_killed_at_any_statement_leaves_the_old_schema[sqlite-None]",
    ),
    Guard("heads are bounded", "service/guards.py", "        if head > MAX_HEAD:", "        if False:", HEAD),
    Guard(
        "a head is not taken in without end", "service/app.py", '"h11_max_incomplete_event_size": MAX_HEAD',
        '"h11_max_incomplete_event_size": 10**9', HEAD,
    ),
    Guard(
        "bodies must arrive", "service/guards.py", "asyncio.timeout(self.body_seconds)", "asyncio.timeout(60)",
        f"{FAULTS}::test_a_body_that_does_not_arrive_is_given_up",
    ),
    Guard(
        "guessed keys are limited", "service/state.py",
        "                service.count(address)", "                pass",
        f"{API}::test_keys_are_not_guessed_at_will",
    ),
    Guard(
        "SIGTERM waits for what was taken in", "cli/serve.py", "timeout_graceful_shutdown=settings.drain_seconds",
        "timeout_graceful_shutdown=0", f"{PROCESS}::test_when_told_to_stop_it_waits_for_a_request_that_is_half_there",
    ),
)  # fmt: skip


def passes(folder: Path, test: str) -> bool:
    """Whether a test passes on the package in a folder; one that hangs or crashes does not.

    Exits where it did not run at all.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=HANGS
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode > 1 or (" skipped" in done.stdout and " passed" not in done.stdout):
        sys.exit(f"{test} did not run:\n{done.stdout[-2000:]}{done.stderr[:4000]}")
    return done.returncode == 0


def is_watched(folder: Path, guard: Guard) -> bool:
    """Whether the guard's test passes with it and fails without it."""
    file = folder / "src/shelfwise" / guard.file
    whole = file.read_text(encoding="utf-8")
    if whole.count(guard.text) != 1:
        sys.exit(f"{guard.file} does not hold just one {guard.text!r}: correct the guard {guard.name!r}")
    if not passes(folder, guard.test):
        sys.exit(f"{guard.test} fails with the guard in")
    try:
        file.write_text(whole.replace(guard.text, guard.instead), encoding="utf-8")
        return not passes(folder, guard.test)
    finally:
        file.write_text(whole, encoding="utf-8")


def main(words: list[str]) -> None:
    """Try the guards whose names hold one of the words, or all."""
    chosen = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    unwatched = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        for guard in chosen:
            watched = is_watched(folder, guard)
            unwatched += [] if watched else [guard.name]
            print(f"{'watched' if watched else 'NOT WATCHED':12s} {guard.name:45s} {guard.test}", flush=True)
    sys.exit(1 if unwatched else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
