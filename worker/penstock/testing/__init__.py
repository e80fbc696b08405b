"""The fault kit: a whole system of real processes, faults to strike it with, and a checker that shares no code with it.

`docs/testing.md` shows how to try a store of your own.
"""

from penstock.testing import faults
from penstock.testing.checker import check, judge
from penstock.testing.evidence import Evidence
from penstock.testing.ledger import Ledger
from penstock.testing.proxy import Proxy
from penstock.testing.system import System
from penstock.testing.verdict import Verdict

__all__ = ["Evidence", "Ledger", "Proxy", "System", "Verdict", "check", "faults", "judge"]
