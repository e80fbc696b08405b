"""What other programs kept in files, into a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from pathlib import Path

from penstock.moving.events import NotAnEvent, Origin, event_of
from penstock.moving.loading import Loader
from penstock.moving.restoring import restore
from penstock.moving.sources import DAMAGE, Shape, Source, look_at
from penstock.moving.taskfiles import NotATask, objects_of, task_of
from penstock.moving.textlogs import events_of
from penstock.wire.errors import InvalidRecord

_FOLDER_SUFFIXES = (".json", ".jsonl", ".log", ".txt", ".gz")


async def load(source: Source, loader: Loader, zone: tzinfo, within: Path | None = None) -> None:
    """Give what *source* holds to *loader*. What it cannot take is refused with its place.

    *zone* is that of times that name none. Ids are made of the file's name, within the folder that is imported.
    """
    name = source.path.name if within is None else source.path.relative_to(within).as_posix()
    origin = Origin(file=name, line=0, at_us=source.modified_us, zone=zone)
    lines = _Numbered()
    try:
        raw, read = source.open()
        with raw:
            await _LOADERS[source.shape](lines.over(read), origin, str(source.path), loader)
    except DAMAGE as exc:
        loader.refuse(f"{source.path}:{lines.last + 1}", f"the file cannot be read on: {exc}")


class _Numbered:
    """Lines with their numbers."""

    def __init__(self) -> None:
        self.last = 0

    def over(self, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        for self.last, line in enumerate(lines, 1):
            yield self.last, line


async def load_folder(folder: Path, loader: Loader, zone: tzinfo) -> Iterable[Source]:
    """Load every file below *folder* that can be. Returns those that hold conversations, which it leaves alone."""
    conversations = []
    for path in files_of(folder):
        try:
            source = look_at(path)
        except OSError as exc:
            loader.refuse(str(path), f"the file cannot be read: {exc.strerror}")
            continue
        if source.is_conversations:
            conversations.append(source)
        elif source.shape is Shape.DATABASE:
            loader.refuse(str(path), "it is a database; penstock copy reads those of Penstock")
        elif source.shape is Shape.VECTORS:
            loader.refuse(str(path), "it holds vectors; import it by its own name")
        else:
            await load(source, loader, zone, folder)
    return conversations


def files_of(folder: Path) -> Iterator[Path]:
    """What may be imported below *folder*, in the order of the names."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _FOLDER_SUFFIXES:
            yield path


async def _load_events(lines: Iterable[tuple[int, bytes]], origin: Origin, name: str, loader: Loader) -> None:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            event = event_of(line, origin.at(number))
        except (NotAnEvent, InvalidRecord) as exc:
            loader.refuse(f"{name}:{number}", str(exc))
        else:
            await loader.add(f"{name}:{number}", event)


async def _load_text(lines: Iterable[tuple[int, bytes]], origin: Origin, name: str, loader: Loader) -> None:
    for number, event in events_of(lines, origin):
        await loader.add(f"{name}:{number}", event)


async def _load_tasks(lines: Iterable[tuple[int, bytes]], origin: Origin, name: str, loader: Loader) -> None:
    try:
        found = list(objects_of(b"".join(line for _, line in lines), origin.file))
    except NotATask as exc:
        loader.refuse(name, str(exc))
        return
    for number, given in enumerate(found, 1):
        try:
            task = task_of(given, origin.at(number))
        except (NotATask, InvalidRecord) as exc:
            loader.refuse(f"{name}: task {number}", str(exc))
        else:
            await loader.add(f"{name}: task {number}", task)


async def _load_export(lines: Iterable[tuple[int, bytes]], _: Origin, name: str, loader: Loader) -> None:
    await restore(lines, name, loader)


_LOADERS = {
    Shape.EVENTS: _load_events,
    Shape.TEXT: _load_text,
    Shape.TASKS: _load_tasks,
    Shape.EXPORT: _load_export,
    Shape.VECTORS: _load_export,
}
