"""The worker: moves records from the queue to their stores.

`arq penstock.worker.WorkerSettings` and `penstock worker` run the same thing.
"""

from typing import Any

from penstock.worker.settings import WorkerConfig

__all__ = ["WorkerConfig", "WorkerSettings", "run_worker"]


def __getattr__(name: str) -> Any:
    """Read the environment and import arq only when a worker is really started."""
    if name == "run_worker":
        from penstock.worker.runtime import run_worker  # noqa: PLC0415 - see above

        return run_worker
    if name == "WorkerSettings":
        import os  # noqa: PLC0415

        from penstock.wire.settings import from_mapping  # noqa: PLC0415
        from penstock.worker.runtime import worker_settings  # noqa: PLC0415

        return worker_settings(from_mapping(WorkerConfig, os.environ))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
