"""Dead letters: records that a store refused for good, or that could not be read. Listed, shown, replayed, purged."""

from penstock.dlq.letters import DeadLetter, UnknownLane, find, list_letters
from penstock.dlq.replay import Outcome, purge, replay

__all__ = ["DeadLetter", "Outcome", "UnknownLane", "find", "list_letters", "purge", "replay"]
