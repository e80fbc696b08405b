"""`penstock dlq export` and `import`: dead letters as a file."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from penstock.cli.connection import looking_at
from penstock.cli.dead_letter_options import Group, Kind, Lane, Session, Since, Until, letters_of, which
from penstock.cli.display import complain, print_json, say
from penstock.cli.exits import Code, Stop
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, Namespace, RedisUrl
from penstock.cli.output_files import STANDARD_OUTPUT, LinesFile, writing
from penstock.dlq.files import Imported, export_letters, import_letters
from penstock.dlq.selection import Which
from penstock.wire.queue import Queue
from penstock.wire.settings import from_mapping


def export(
    *,
    file: LinesFile = STANDARD_OUTPUT,
    lane: Lane = None,
    kind: Kind = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    session: Session = None,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Write dead letters whole as JSON Lines, to standard output or a file. They stay where they are.

    The file holds the records as they were sent, with all that is secret in them.
    """
    chosen = which(lane=lane, error_kind=kind, group=group, since=since, until=until, session=session)
    with writing(file):
        letters = asyncio.run(_export(redis_url, namespace, file, chosen))
    say(f"{letters_of(letters)} exported.")


async def _export(redis_url: str, namespace: str, file: Path, chosen: Which) -> int:
    from penstock.moving.files import opened, replacing  # noqa: PLC0415 - see `app`

    async with looking_at(redis_url, namespace) as queue:
        lines = export_letters(queue, **chosen)
        if file == STANDARD_OUTPUT:
            written = await _write(lines, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return written
        with replacing(file) as partial, opened(partial, file) as out:
            return await _write(lines, out)


async def _write(lines: AsyncIterator[bytes], out: IO[bytes]) -> int:
    written = 0
    async for line in lines:
        out.write(line)
        written += 1
    return written - 2  # the header and the end


def import_(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="As export writes them; - is standard input.")],
    json: Json = False,
    redis_url: RedisUrl = REDIS_URL,
    namespace: Namespace = NAMESPACE,
) -> None:
    """Take in dead letters that were exported, here or elsewhere, each that is not here.

    They count as accepted and as dead, so the audit goes on adding up. Importing twice adds nothing; a letter that was
    replayed or purged since comes back. A broken line is told with its number and skipped; the exit code is 1 then.
    """
    done = asyncio.run(_import(redis_url, namespace, files))
    faults = sum(len(each.faults) for each in done)
    letters, known = sum(each.letters for each in done), sum(each.known for each in done)
    if json:
        print_json(
            {"imported": letters, "records": sum(each.records for each in done), "known": known, "refused": faults}
        )
    else:
        say(f"{letters_of(letters)} imported; {known:,} {'was' if known == 1 else 'were'} here already.")
    if faults:
        raise SystemExit(Code.NO)


@asynccontextmanager
async def _made(redis_url: str, namespace: str) -> AsyncIterator[Queue]:
    """The queue; a namespace that does not exist is made as a worker would make it."""
    from penstock.worker.settings import WorkerConfig  # noqa: PLC0415 - see `app`

    queue = Queue(redis_url, namespace)
    try:
        yield await queue.open(from_mapping(WorkerConfig, os.environ).partitions)
    finally:
        await queue.close()


async def _import(redis_url: str, namespace: str, files: list[Path]) -> list[Imported]:
    from penstock.moving.sources import DAMAGE, look_at  # noqa: PLC0415 - see `app`

    done = []
    async with _made(redis_url, namespace) as queue:
        for file in files:
            try:
                raw, lines = look_at(file).open()
                with raw:
                    done.append(await import_letters(queue, lines))
            except DAMAGE as exc:
                raise Stop(f"{file} cannot be read: {getattr(exc, 'strerror', None) or exc}", Code.USAGE) from exc
            for number, reason in done[-1].faults:
                complain(f"{file}:{number}: {reason}; skipped")
    return done
