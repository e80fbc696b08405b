"""Vectors and key-values: the last one of each key, and that once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeVar

from penstock.testing.evidence import Evidence
from penstock.testing.identity import Identity, of_letter, of_sent
from penstock.testing.ledger import AnySent, SentValue, SentVector
from penstock.testing.verdict import Verdict

T = TypeVar("T", SentVector, SentValue)


def judge_vectors(sent: Sequence[AnySent], evidence: Evidence, verdict: Verdict) -> None:
    """Name every vector that is missing, repeated, nobody's, or not the last one of its key."""
    there = Counter((row.collection, row.key) for row in evidence.vectors)
    verdict.twice += [f"embedding {key} has {count} rows" for key, count in there.items() if count > 1]
    dead = set(map(of_letter, evidence.dead))
    versions = _versions((each for each in sent if isinstance(each, SentVector)), lambda one: (one.collection, one.key))
    found = {(row.collection, row.key): row.vector for row in evidence.vectors}
    verdict.strangers += [f"embedding {key}" for key in found if key not in versions]
    for key, of_key in versions.items():
        standing = _standing(of_key, dead)
        if key not in found:
            if any(each.accepted for each in standing):
                verdict.missing.append(f"embedding {key} ({of_key[0].writer})")
        elif found[key] not in {each.vector for each in standing}:
            verdict.vectors.append(f"embedding {key} is not its last vector")


def judge_values(sent: Sequence[AnySent], evidence: Evidence, verdict: Verdict) -> None:
    """Name every key-value that is missing, nobody's, or not the last one of its key."""
    dead = set(map(of_letter, evidence.dead))
    versions = _versions((each for each in sent if isinstance(each, SentValue)), lambda one: (one.namespace, one.key))
    found = {(row.namespace, row.key): row.value for row in evidence.values}
    verdict.strangers += [f"key-value {key}" for key in found if key not in versions]
    for key, of_key in versions.items():
        standing = _standing(of_key, dead)
        if key not in found:
            if any(each.accepted for each in standing) and not any(each.deleted for each in standing):
                verdict.missing.append(f"key-value {key} ({of_key[0].writer})")
        elif found[key] not in [each.value for each in standing if not each.deleted]:
            verdict.values.append(f"key-value {key} is not its last value")


def _versions(sent: Iterable[T], key_of: Callable[[T], tuple[str, str]]) -> dict[tuple[str, str], list[T]]:
    found: defaultdict[tuple[str, str], list[T]] = defaultdict(list)
    for each in sent:
        found[key_of(each)].append(each)
    return found


def _standing(versions: Sequence[T], dead: Collection[Identity]) -> list[T]:
    """Which versions may be the one that stands: each writer's last accepted, or one that it handed over after that.

    A dead letter changed nothing. Between writers only their clocks decide, so the last of any of them will do.
    """
    standing: list[T] = []
    for writer in dict.fromkeys(each.writer for each in versions):
        alive = [each for each in versions if each.writer == writer and of_sent(each) not in dead]
        accepted = [at for at, each in enumerate(alive) if each.accepted]
        standing += alive[accepted[-1] if accepted else 0 :]
    return standing
