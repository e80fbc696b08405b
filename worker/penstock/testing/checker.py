"""Holds what writers noted against what stores and dead letters have. Shares no code with what moved it there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from penstock.testing import ledger
from penstock.testing.evidence import Evidence
from penstock.testing.judging_messages import MessageJudge
from penstock.testing.judging_queue import judge_balances, judge_letters, judge_logs
from penstock.testing.judging_values import judge_values, judge_vectors
from penstock.testing.ledger import AnySent
from penstock.testing.queue_seen import queue_seen
from penstock.testing.stores_seen import logs_of, messages_of, sql_rows, values_of, vectors_in
from penstock.testing.verdict import Verdict


async def check(
    ledgers: Iterable[Path],
    *,
    redis_url: str,
    namespace: str,
    sql_url: str,
    vector_url: str | None = None,
    replayed: Collection[str] = (),
    purged: Collection[str] = (),
) -> Verdict:
    """Look at stores and queue, and judge. For a quiet moment: nothing may be under way.

    *replayed* are ids whose dead letters were sent again, *purged* those whose letters were removed for good.

    Raises:
        CannotLook: A store that the kit cannot read; `judge` takes what you have read yourself.
    """
    found = await sql_rows(sql_url)
    dead, balances = await queue_seen(redis_url, namespace)
    evidence = Evidence(
        messages=messages_of(found),
        counters={row[0]: row[1] for row in found["counters"]},
        logs=logs_of(found),
        values=values_of(found),
        vectors=await vectors_in(vector_url) if vector_url else [],
        dead=dead,
        balances=balances,
    )
    return judge(ledgers, evidence, replayed=replayed, purged=purged)


def judge(
    ledgers: Iterable[Path], evidence: Evidence, *, replayed: Collection[str] = (), purged: Collection[str] = ()
) -> Verdict:
    """Compare, and name every fault.

    A record that was handed over but not accepted may be there or not; it may not be there twice, nor out of order.
    """
    sent = [each for path in ledgers for each in ledger.read(path)]
    verdict = Verdict(totals=_totals(sent, evidence))
    MessageJudge(sent, evidence, frozenset(purged), verdict).judge()
    judge_logs(sent, evidence, purged, verdict)
    judge_vectors(sent, evidence, verdict)
    judge_values(sent, evidence, verdict)
    judge_letters(sent, evidence, replayed, verdict)
    judge_balances(evidence, verdict)
    return verdict


def _totals(sent: list[AnySent], evidence: Evidence) -> Mapping[str, int]:
    return {
        "handed over": len(sent),
        "accepted": sum(each.accepted for each in sent),
        "messages": len(evidence.messages),
        "logs": len(evidence.logs),
        "vectors": len(evidence.vectors),
        "values": len(evidence.values),
        "dead": len(evidence.dead),
    }
