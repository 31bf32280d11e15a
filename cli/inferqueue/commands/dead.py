"""`inferqueue dead list`, `dead redrive` and `dead purge`: jobs that used up their attempts."""

import argparse
import sys
from contextlib import closing
from pathlib import Path

from msgspec.structs import asdict
from rich.table import Table

from inferqueue.commands.options import add_json_option, count
from inferqueue.commands.output import ENDED_BADLY, local_time, table_console, write_json
from inferqueue.up.data_dir import running_redis
from inferqueue.up.settings import foreign_redis, own_redis
from inferqueue_core.connection import connect
from inferqueue_core.jobs import DeadLetter, RedriveOutcome
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import QueueSettings
from inferqueue_core.settings import read_settings

MOST_DEAD_LETTERS = 100_000
REDRIVE_AT_ONCE = 100
PURGE_AT_ONCE = 500

DESCRIPTION = """\
Dead letters are jobs that used up their attempts, because their worker was killed or had no memory each time. They are
kept for a week: list them, mend what is wrong, and put them back into the queue, or give them up.

This speaks with Redis itself: that of --redis-url (REDIS_URL), else that of `inferqueue up` in the data directory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="dead_command", metavar="COMMAND", required=True)
    lister = commands.add_parser(
        "list", help="list dead letters, newest first", description="List dead letters, newest first."
    )
    lister.add_argument("--limit", type=count, default=100, metavar="N", help="at most N of them (default 100)")
    redrive = commands.add_parser(
        "redrive",
        help="put dead letters back into the queue",
        description="Put dead letters back into the queue, with all their attempts before them.",
    )
    redrive.add_argument("job_ids", nargs="*", metavar="JOB_ID")
    redrive.add_argument("--all", action="store_true", help="all of them")
    purge = commands.add_parser(
        "purge",
        help="give dead letters up, and their data with them",
        description="Give dead letters up, the oldest first, and their data with them.",
    )
    purge.add_argument("--oldest", type=count, metavar="N", help="the N oldest")
    purge.add_argument("--all", action="store_true", help="all of them")
    for command in (lister, redrive, purge):
        command.add_argument("--redis-url", metavar="URL", help="address of Redis (REDIS_URL)")
        command.add_argument("--queue-name", metavar="NAME", help="the queue (QUEUE_NAME, default predict_queue)")
        command.add_argument(
            "--data-dir", type=Path, default=Path(".inferqueue"), metavar="DIR", help="that of `inferqueue up`"
        )
        add_json_option(command)
    redrive.set_defaults(usage_error=redrive.error)
    purge.set_defaults(usage_error=purge.error)


def run(arguments: argparse.Namespace) -> int:
    if arguments.dead_command == "redrive" and bool(arguments.job_ids) == arguments.all:
        arguments.usage_error("name the jobs to put back, or all of them with --all")
    if arguments.dead_command == "purge" and (arguments.oldest is not None) == arguments.all:
        arguments.usage_error("say how many to give up with --oldest N, or all of them with --all")
    settings = read_settings(QueueSettings, arguments)
    running = running_redis(arguments.data_dir) if foreign_redis(arguments) is None else None
    with closing(connect(settings if running is None else own_redis(running))) as client:
        queue = RedisJobQueue(client, settings.queue_name, settings.policy(), prefix=settings.key_prefix)
        if arguments.dead_command == "list":
            return list_dead(queue, arguments.limit, as_json=arguments.json)
        if arguments.dead_command == "purge":
            return purge(queue, arguments.oldest, as_json=arguments.json)
        return redrive(queue, arguments.job_ids, as_json=arguments.json)


def list_dead(queue: RedisJobQueue, limit: int, *, as_json: bool) -> int:
    """Write the dead letters."""
    letters = queue.dead_letters(limit)
    if as_json:
        write_json([asdict(letter) for letter in letters])
    elif letters:
        table_console().print(dead_table(letters))
    else:
        print(f"queue {queue.keys.queue_name!r} has no dead letters", file=sys.stderr)
    return 0


def dead_table(letters: list[DeadLetter]) -> Table:
    """Draw dead letters as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("JOB", "DIED", "ATTEMPTS"):
        table.add_column(name, no_wrap=True)
    table.add_column("ERROR")
    for letter in letters:
        table.add_row(letter.job_id, local_time(letter.died_at), str(letter.attempts), letter.error)
    return table


def redrive(queue: RedisJobQueue, job_ids: list[str], *, as_json: bool) -> int:
    """Put dead letters back, all of them when none is named, and write what became of each."""
    ids = job_ids or [letter.job_id for letter in queue.dead_letters(MOST_DEAD_LETTERS)]
    outcomes: list[RedriveOutcome] = []
    for start in range(0, len(ids), REDRIVE_AT_ONCE):
        outcomes += queue.redrive(ids[start : start + REDRIVE_AT_ONCE])
    if as_json:
        write_json([{"job_id": job_id, "outcome": outcome} for job_id, outcome in zip(ids, outcomes, strict=True)])
    else:
        for job_id, outcome in zip(ids, outcomes, strict=True):
            print(f"{job_id}  {outcome}")
    return 0 if all(outcome is RedriveOutcome.WAITING for outcome in outcomes) else ENDED_BADLY


def purge(queue: RedisJobQueue, oldest: int | None, *, as_json: bool) -> int:
    """Give up the oldest dead letters, all that there are now when no number is given, and write how many."""
    left = queue.observe().dead if oldest is None else oldest
    purged = 0
    while left > 0 and (count_now := queue.purge(min(left, PURGE_AT_ONCE))):
        purged += count_now
        left -= count_now
    if as_json:
        write_json({"purged": purged})
    else:
        print(f"{purged} dead letters of queue {queue.keys.queue_name!r} are given up")
    return 0
