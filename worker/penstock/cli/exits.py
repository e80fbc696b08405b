"""Exit codes, and which error gives which.

0    done; the answer is yes
1    the answer is no: the audit does not add up, a line was refused. Also a bug, with its traceback
2    the command line is wrong
3    what was asked for does not exist
4    the queue or a store does not answer; the same command may work later
5    a setting cannot be used, an extra is missing, a port is in use; mend it first
130  interrupted with Ctrl-C
"""

from __future__ import annotations

from enum import IntEnum

from penstock.wire.errors import (
    ConfigMismatch,
    InvalidRecord,
    PasswordRefused,
    PenstockError,
    QueueFull,
    QueueRejected,
    QueueUnavailable,
)
from penstock.wire.settings import InvalidSetting


class Code(IntEnum):
    """See the module."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    AWAY = 4
    SETUP = 5
    INTERRUPTED = 130


class Stop(PenstockError):
    """End the command with this line and this code."""

    def __init__(self, line: str, code: Code) -> None:
        super().__init__(line)
        self.code = code


_QUEUE_REMEDY = "is it running? `penstock up` starts one here; --redis-url or PENSTOCK_REDIS_URL names another"
_LOGIN_REMEDY = (
    "it holds the password as in redis://:PASSWORD@HOST:6379/0 or redis://USER:PASSWORD@HOST:6379/0, "
    "with @ / : % within one written as %40 %2F %3A %25"
)
_STORE_REMEDY = "see --sql-url, --vector-url or --key-value-url"
_EMBEDDER_REMEDY = "see PENSTOCK_EMBEDDER"


def verdict(error: PenstockError) -> tuple[Code, str]:
    """The exit code of *error*, and the remedy that its own message does not tell."""
    if isinstance(error, Stop):
        return error.code, ""
    for classes, code, remedy in _verdicts():
        if isinstance(error, classes):
            return code, remedy
    return Code.NO, ""


def _verdicts() -> list[tuple[tuple[type[PenstockError], ...], Code, str]]:
    from penstock.dlq import UnknownLane  # noqa: PLC0415 - errors are rare, and the parts they come from slow to load
    from penstock.dlq.files import NoLetters  # noqa: PLC0415
    from penstock.embedded import EmbeddedServerError  # noqa: PLC0415
    from penstock.embedding import EmbedderRejected, EmbedderUnavailable  # noqa: PLC0415
    from penstock.producer.errors import DeadLettered, NotQueued, NotStored  # noqa: PLC0415
    from penstock.query import InvalidQuery  # noqa: PLC0415
    from penstock.stores.errors import (  # noqa: PLC0415
        BadStoreURL,
        DimensionMismatch,
        SchemaTooOld,
        StoreRejected,
        StoreUnavailable,
        Unsupported,
    )
    from penstock.stores.filters import FilterError  # noqa: PLC0415

    return [
        ((PasswordRefused,), Code.SETUP, _LOGIN_REMEDY),
        ((QueueUnavailable,), Code.AWAY, _QUEUE_REMEDY),
        ((SchemaTooOld,), Code.SETUP, ""),
        ((EmbedderUnavailable,), Code.AWAY, _EMBEDDER_REMEDY),
        ((EmbedderRejected,), Code.SETUP, _EMBEDDER_REMEDY),
        ((StoreUnavailable,), Code.AWAY, _STORE_REMEDY),
        ((QueueFull, NotQueued, NotStored), Code.AWAY, ""),
        ((DeadLettered,), Code.NO, ""),
        (
            (InvalidRecord, InvalidQuery, FilterError, UnknownLane, NoLetters, DimensionMismatch, Unsupported),
            Code.USAGE,
            "",
        ),
        ((ConfigMismatch, InvalidSetting, QueueRejected, BadStoreURL, EmbeddedServerError), Code.SETUP, ""),
        ((StoreRejected,), Code.SETUP, _STORE_REMEDY),
    ]
