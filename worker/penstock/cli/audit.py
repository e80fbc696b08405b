"""`penstock audit`: whether accepted = stored + skipped + pending + dead, in every lane."""

from __future__ import annotations

from rich.text import Text

from penstock.cli.connection import ask
from penstock.cli.display import complain, console, print_json, print_table
from penstock.cli.exits import Code
from penstock.cli.ledger import Audit
from penstock.cli.options import NAMESPACE, REDIS_URL, Json, Namespace, RedisUrl

_ADDS_UP = "It adds up: accepted = stored + skipped + pending + dead (the purged among them), in every lane."
_NOTHING = "Nothing was accepted yet in this namespace; --namespace names another."


def audit(json: Json = False, redis_url: RedisUrl = REDIS_URL, namespace: Namespace = NAMESPACE) -> None:
    """Check that accepted = stored + skipped + pending + dead.

    Exit code 1 where a lane does not add up. The counters move in the scripts that append and trim, so this is
    exact while records flow. Purged dead letters stay counted as dead; skipped is what the worker's
    strategy leaves out.
    """
    seen = ask(redis_url, namespace, Audit.of)
    if json:
        print_json({"lanes": seen.lanes(), "balanced": seen.balanced})
    else:
        show_audit(seen)
    if not seen.balanced:
        raise SystemExit(Code.NO)


def show_audit(seen: Audit) -> None:
    """The audit for people."""
    lanes = seen.lanes()
    wrong = {where.lane for where, counts in seen.partitions.items() if not counts.balanced}
    columns = ["lane", "accepted", "stored", "skipped", "pending", "dead", "purged"]
    rows = [[lane, *counts.values(), _verdict(lane not in wrong)] for lane, counts in lanes.items()]
    print_table([*columns, "adds up"], rows, columns[1:])
    if seen.balanced:
        has_any = any(counts["accepted"] for counts in lanes.values())
        console().print(_ADDS_UP if has_any else _NOTHING, style="green" if has_any else "yellow")
    for fault in seen.faults():
        complain(fault)


def _verdict(adds_up: bool) -> Text:
    return Text("yes", "green") if adds_up else Text("NO", "bold red")
