"""The spool as the sender sees it: what was put on disk, how much of each partition, and who waits for it."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from penstock.producer.errors import NotQueued
from penstock.producer.overflow import producer_log
from penstock.producer.receipt import Entry, Placed
from penstock.producer.spool_file import UNCUT, Draft, Run, SpoolDamaged, SpoolFailed
from penstock.producer.spool_folder import SpoolFolder, log_set_aside
from penstock.producer.spool_shelf import Place, Shelf, Watch
from penstock.wire.keys import Partition

REMEDY = "the next producer that starts with this spool_dir and namespace sends them"

_TAKEN_AT_ONCE = 32
"""An open file takes four descriptors, and a program that was started again and again has left one each time."""

_SAY_EVERY_S = 60.0

T = TypeVar("T")


class Spool:
    """One producer's. Its files are used by one thread of its own, so the loop never waits for the disk.

    Runs of a partition leave in the order in which they were put there; those of producers that have ended come first.
    """

    def __init__(self, folder: Path, namespace: str, max_bytes: int) -> None:
        self.turn = asyncio.Lock()
        """Held by whoever adds to it or cuts it for a number of partitions."""
        self.size = 0
        """Bytes of the records that wait."""
        self.records = 0
        self._folder = SpoolFolder(folder, namespace)
        self.path = self._folder.path
        self._max_bytes = max_bytes
        self._shelves: list[Shelf] = []
        self._more_left = False
        """There may be more files of ended producers."""
        self._own: Shelf | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._since_s: float | None = None
        self._passed = 0
        self._said_at: dict[str, float] = {}

    # -- in -------------------------------------------------------------------------------------

    async def take_over(self) -> None:
        """Take what ended producers have left, of very many files some. What goes wrong is logged."""
        try:
            await self._apart(self._take_left)
        except SpoolFailed as exc:
            self._complain("folder", str(exc))
        self._sum_up()
        if self.records:
            self._begin("an earlier producer left them")

    def _take_left(self) -> None:
        # In the thread to its end: whoever is cancelled meanwhile still has what was taken, and lets go of it.
        # In front, should there be something of our own already: it is newer.
        try:
            shelves = [Shelf(file) for file in self._folder.take_left(_TAKEN_AT_ONCE)]
        except SpoolFailed:
            self._more_left = False
            raise
        self._shelves[:0] = shelves
        self._more_left = len(shelves) == _TAKEN_AT_ONCE

    @property
    def may_take_more(self) -> bool:
        """Whether all that was taken is sent, and there may be more."""
        return self._more_left and not self._shelves

    @property
    def is_out_of_line(self) -> bool:
        """Whether something is there, or may be, that is not cut for a number of partitions yet."""
        return self.may_take_more or any(not shelf.partitions for shelf in self._shelves)

    async def cut(self, partitions: int) -> None:
        """Have everything cut for that many partitions, unless the disk does not take it. In one's `turn`."""
        for shelf in list(self._shelves):
            try:
                while await self._apart(partial(shelf.file.cut, partitions)):
                    pass
                await self._note_cut(shelf, partitions)
            except SpoolDamaged as exc:
                await self._set_aside(shelf, exc)
            except SpoolFailed as exc:
                self._complain("disk", str(exc))
                shelf.note_cut(partitions)

    async def uncut(self, partitions: int) -> list[tuple[Run, Place]]:
        """What could not be cut and is to be sent next, before anything else. Empty when all is cut.

        Raises:
            SpoolFailed: It cannot be read now.
        """
        for shelf in [shelf for shelf in self._shelves if shelf.partitions != partitions]:
            try:
                runs = await self._apart(partial(shelf.file.uncut, partitions, shelf.uncut_after))
                if runs:
                    return [(run, Place(shelf, run.seq, run.records, run.size)) for run in runs]
                await self._note_cut(shelf, partitions)
            except SpoolDamaged as exc:
                await self._set_aside(shelf, exc)
        return []

    async def _note_cut(self, shelf: Shelf, partitions: int) -> None:
        shelf.note_cut(partitions)
        shelf.records, shelf.size = await self._apart(partial(shelf.file.totals, partitions))
        shelf.partitions = partitions
        self._sum_up()

    def waiting(self) -> Counter[Partition]:
        """How many records of each partition wait, once everything is cut."""
        return sum((shelf.records for shelf in self._shelves), Counter())

    def _sum_up(self) -> None:
        self.records = sum(shelf.records.total() for shelf in self._shelves)
        self.size = sum(shelf.size for shelf in self._shelves)

    def fitting(self, lines: Iterable[Sequence[Draft]]) -> list[Draft]:
        """What there is room for: of each line its first drafts."""
        room, found, too_large = self._max_bytes - self.size, [], 0
        for drafts in lines:
            for draft in drafts:
                if draft.size > room:
                    too_large = draft.size
                    break
                room -= draft.size
                found.append(draft)
        if too_large:
            self._complain(
                "bound",
                f"it holds {self.size:,} of {self._max_bytes:,} bytes, with no room for {too_large:,} more; what does "
                f"not fit waits in memory, and when that is full overflow decides; mend the queue or raise spool_bytes",
            )
        return found

    async def put(self, drafts: Sequence[Draft], partitions: int, reason: str) -> list[Place]:
        """Make *drafts* durable, all or none. To be called in one's `turn`.

        Raises:
            SpoolFailed: None of them is there.
        """
        try:
            if self._own is None:
                self._own = await self._apart(lambda: Shelf(self._folder.make()))
                self._shelves.append(self._own)
            shelf = self._own
            shelf.partitions = shelf.partitions or partitions
            shelf.filling = True
            try:
                seqs = await self._apart(partial(shelf.file.put, drafts, partitions))
            finally:
                shelf.filling = False
        except SpoolDamaged as exc:
            if self._own is not None:
                await self._set_aside(self._own, exc)
            raise
        except SpoolFailed as exc:
            self._complain("disk", str(exc))
            raise
        if shelf not in self._shelves:
            raise SpoolDamaged(f"the spool {shelf.file.path} was set aside while it was written")
        for draft in drafts:
            shelf.records[draft.where] += draft.records
            shelf.size += draft.size
            self.size += draft.size
            self.records += draft.records
        self._begin(reason)
        return [Place(shelf, seq, draft.records, draft.size) for seq, draft in zip(seqs, drafts, strict=True)]

    def watch(self, where: Partition, place: Place, entries: Sequence[Entry]) -> None:
        """Settle, once the queue has the run of *entries*, those that somebody still has then."""
        watches = []
        for index, entry in enumerate(entries):
            known = entry.watched()
            if known is not None:
                watches.append(Watch(index, weakref.ref(known[0]), known[1]))
                known[0].note_spooled(place.shelf.file.path)
        place.shelf.watched[place.seq, where.number] = watches
        if where.number == UNCUT:
            place.shelf.keys[place.seq] = [entry.key for entry in entries]

    def forget_unheld(self, where: Partition, place: Place) -> None:
        """Watch no more what nobody has. To be called when the caller of `watch` has dropped the entries too."""
        at = place.seq, where.number
        left = [watch for watch in place.shelf.watched.get(at, ()) if watch.entry() is not None]
        if left:
            place.shelf.watched[at] = left
        else:
            place.shelf.watched.pop(at, None)
            place.shelf.keys.pop(place.seq, None)

    # -- out ------------------------------------------------------------------------------------

    def records_of(self, where: Partition) -> int:
        """How many records of a partition wait."""
        return sum(shelf.records[where] for shelf in self._shelves)

    def holds(self, place: Place) -> bool:
        """Whether the file of a run is still in use."""
        return place.shelf in self._shelves

    async def next(self, wanted: Iterable[Partition]) -> dict[Partition, tuple[Run, Place]]:
        """The first run of each partition that has any, and remove those that the queue has.

        Raises:
            SpoolFailed: They cannot be read now.
        """
        found: dict[Partition, tuple[Run, Place]] = {}
        left = set(wanted)
        for shelf in list(self._shelves):
            here = {where: shelf.after.get(where, 0) for where in left if shelf.records[where]}
            spent = shelf.is_spent
            if not here and not shelf.done and not spent:
                continue
            left -= here.keys()
            try:
                runs = await self._apart(partial(shelf.removed_and_read, here))
            except SpoolDamaged as exc:
                await self._set_aside(shelf, exc)
                raise
            except SpoolFailed as exc:
                self._complain("disk", str(exc))
                raise
            for where, run in runs.items():
                found[where] = run, Place(shelf, run.seq, run.records, run.size)
            if spent and not shelf.records.total() and not shelf.filling:  # filled again meanwhile, it is needed
                await self._remove(shelf)
        return found

    def passed(self, where: Partition, place: Place) -> None:
        """Note that the queue has a run, but not yet as durable as it must be: `next` goes on behind it."""
        place.shelf.after[where] = place.seq

    def confirmed(self, where: Partition, place: Place, places: Sequence[Placed]) -> None:
        """Note that the queue has a run, and tell those who wait where each of its records is."""
        shelf, seq, records, size = place
        shelf.records[where] -= records
        shelf.size -= size
        self.records -= records
        self.size -= size
        self._passed += records
        shelf.after[where] = max(seq, shelf.after.get(where, 0))
        shelf.done.append((seq, where))
        self._settle(where, place, places)

    def confirmed_uncut(self, found: Sequence[tuple[Run, Place]], places: Sequence[Sequence[Placed]]) -> None:
        """Note that the queue has what `uncut` gave. It stays in the file until that is removed."""
        for (run, place), there in zip(found, places, strict=True):
            self._passed += run.records
            place.shelf.uncut_after = run.seq
            self._settle(run.push.partition, place, there)

    def _settle(self, where: Partition, place: Place, places: Sequence[Placed]) -> None:
        """Tell those who wait for the records of a run where they are."""
        for index, ref, opened_us in place.shelf.watched.pop((place.seq, where.number), ()):
            entry = ref()
            if entry is not None and entry.fate is None:
                entry.settle(places[index]._replace(opened_us=opened_us))

    @property
    def is_spent(self) -> bool:
        """Whether there are files from which all was sent; `next` removes them."""
        return any(shelf.is_spent for shelf in self._shelves)

    # -- the end --------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of everything, and say what is left and what will become of it."""
        if self._thread is not None:
            await self._apart(lambda: None)  # what it does now ends first
        for shelf in list(self._shelves):
            try:
                await self._apart(partial(shelf.removed_and_read, {}))
            except SpoolFailed as exc:
                self._complain("disk", str(exc))
            if not shelf.records.total():
                await self._remove(shelf)
                continue
            for entry in shelf.entries():
                entry.settle(NotQueued(f"a record waits in the spool {shelf.file.path}; {REMEDY}"))
            await self._apart(shelf.file.close)
        if self.records:
            producer_log().warning(
                "records left in the spool", records=self.records, path=str(self.path), remedy=REMEDY
            )
        self._shelves.clear()
        self._own = None
        if self._thread is not None:
            self._thread.shutdown()

    def disown(self, fate: Exception) -> None:
        """In a forked child: *fate* is what its copies of receipts say. The files are the parent's anyway."""
        for shelf in self._shelves:
            for entry in shelf.entries():
                entry.fate = fate

    async def _remove(self, shelf: Shelf) -> None:
        self._forget(shelf)
        await self._apart(shelf.file.delete)
        if not self._shelves and self._since_s is not None:
            seconds = round(time.monotonic() - self._since_s, 1)
            producer_log().info("the spool is empty again", records=self._passed, seconds=seconds)
            self._since_s, self._passed = None, 0
            self._said_at.clear()

    async def _set_aside(self, shelf: Shelf, exc: SpoolDamaged) -> None:
        self._forget(shelf)
        self._sum_up()
        aside = await self._apart(shelf.file.set_aside)
        log_set_aside(exc, aside)
        for entry in shelf.entries():
            entry.settle(NotQueued(f"the spool that held the record is damaged: {exc}; it is kept as {aside}"))

    def _forget(self, shelf: Shelf) -> None:
        self._shelves.remove(shelf)
        if self._own is shelf:
            self._own = None

    def _begin(self, reason: str) -> None:
        if self._since_s is None:
            self._since_s = time.monotonic()
            producer_log().warning(
                "records wait in the spool", records=self.records, path=str(self.path), reason=reason
            )

    def _complain(self, about: str, reason: str) -> None:
        """Say that the spool cannot be used: at once, and again each minute in which that is so."""
        now = time.monotonic()
        if now - self._said_at.get(about, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said_at[about] = now
            producer_log().error("the spool cannot be used", path=str(self.path), reason=reason)

    async def _apart(self, work: Callable[[], T]) -> T:
        """Have the spool's thread do *work*. A cancelled call leaves it to be done."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "penstock-spool")
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError:  # the interpreter exits: threads take nothing more, and nobody else uses this loop
            return work()
        return await asyncio.shield(future)  # or work that has not begun would never be done
