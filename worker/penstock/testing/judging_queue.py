"""Log events, dead letters, and the counters of partitions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from penstock.testing.evidence import Balance, Evidence
from penstock.testing.identity import Identity, of_letter, of_sent
from penstock.testing.ledger import AnySent, SentLog
from penstock.testing.verdict import Verdict


def judge_logs(sent: Sequence[AnySent], evidence: Evidence, purged: Collection[str], verdict: Verdict) -> None:
    """Name every log event that is missing, repeated, changed or nobody's."""
    known: defaultdict[str, list[SentLog]] = defaultdict(list)
    for each in sent:
        if isinstance(each, SentLog):
            known[each.id].append(each)
    there = Counter(row.id for row in evidence.logs)
    verdict.twice += [f"log event {each} has {count} rows" for each, count in there.items() if count > 1]
    texts = {(each.event, each.message): each.id for events in known.values() for each in events}
    for row in evidence.logs:
        if row.id in known:
            if (row.event, row.message) not in {(each.event, each.message) for each in known[row.id]}:
                verdict.texts.append(f"log event {row.id} is not what was sent")
        elif (row.event, row.message) in texts:
            verdict.twice.append(f"log event {texts[row.event, row.message]} is also stored as {row.id}")
        else:
            verdict.strangers.append(f"log event {row.id}")
    gone = {*there, *(each.id for each in evidence.dead), *purged}
    verdict.missing += [
        f"log event {each} ({events[0].writer})"
        for each, events in known.items()
        if each not in gone and any(one.accepted for one in events)
    ]


def judge_letters(sent: Sequence[AnySent], evidence: Evidence, replayed: Collection[str], verdict: Verdict) -> None:
    """Name every dead letter that is repeated, nobody's, nobody expected, or of a record that is stored as well."""
    stored = {row.id for row in evidence.messages} | {row.id for row in evidence.logs}
    letters = Counter(each.id for each in evidence.dead)
    verdict.twice += [f"record {each} has {count} dead letters" for each, count in letters.items() if count > 1]
    verdict.stored_and_dead += [f"record {each}" for each in letters if each in stored and each not in replayed]
    poison: dict[Identity, bool] = {}
    for each in sent:
        poison[of_sent(each)] = each.poison or poison.get(of_sent(each), False)
    for letter in evidence.dead:
        expected = poison.get(of_letter(letter))
        told = f"record {letter.id} in {letter.partition}: {letter.reason}"
        if expected is None:
            verdict.strangers.append(f"dead letter of {told}")
        elif not expected:
            verdict.unexpected_dead.append(told)


def judge_balances(evidence: Evidence, verdict: Verdict) -> None:
    """Name every partition whose counters do not add up, or say other than what lies there."""
    for partition, balance in evidence.balances.items():
        verdict.unbalanced += [f"{partition}: {each}" for each in _imbalances(balance)]


def _imbalances(of: Balance) -> list[str]:
    found = []
    settled = of.stored + of.skipped + of.dead + of.purged
    if of.accepted != settled + of.pending + of.buffered:
        found.append(
            f"accepted {of.accepted:,} is not stored {of.stored:,} + skipped {of.skipped:,} + pending {of.pending:,} "
            f"+ buffered {of.buffered:,} + dead {of.dead:,} + purged {of.purged:,}"
        )
    if of.pending != of.in_log:
        found.append(f"pending is {of.pending:,}, the log has {of.in_log:,}")
    if of.dead != of.in_letters:
        found.append(f"dead is {of.dead:,}, the letters count for {of.in_letters:,}")
    return found
