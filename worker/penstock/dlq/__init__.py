"""Dead letters: records that a store refused for good, or that nobody could read. Seen, mended, replayed, purged.

Beside what is named here, `rehearsal.rehearse` tries a replay in the stores and changes nothing, `files` exports and
imports letters, `retention.expire` purges old ones. `docs/dead-letters.md` is the guide.
"""

from penstock.dlq.editing import edit
from penstock.dlq.groups import groups
from penstock.dlq.history import history
from penstock.dlq.letters import DeadLetter, find, list_letters
from penstock.dlq.replay import Outcome, purge, replay
from penstock.dlq.selection import UnknownLane

__all__ = [
    "DeadLetter",
    "Outcome",
    "UnknownLane",
    "edit",
    "find",
    "groups",
    "history",
    "list_letters",
    "purge",
    "replay",
]
