"""Whether a reader keeps answers, where, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.wire.settings import InvalidSetting

_LONGEST_TTL_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How long answers are good, in seconds. Every field is an environment variable `PENSTOCK_<NAME>`; 0: not kept."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    """The queue server: its workers forget what they change. `REDIS_URL` is read too."""

    namespace: str = "penstock"
    """As the workers'."""

    cache: bool = False
    """Whether `Reader.from_env` keeps answers."""

    cache_task_s: int = 300
    cache_tasks_s: int = 60
    """Lists and counts of tasks."""
    cache_agent_state_s: int = 300
    cache_agent_states_s: int = 60
    cache_session_s: int = 300
    cache_sessions_s: int = 60

    def __post_init__(self) -> None:
        for kind in ("task", "tasks", "agent_state", "agent_states", "session", "sessions"):
            if not 0 <= self.ttl_s(kind) <= _LONGEST_TTL_S:
                raise InvalidSetting(f"cache_{kind}_s is {self.ttl_s(kind)}; 0 to {_LONGEST_TTL_S:,} are accepted")

    def ttl_s(self, kind: str) -> int:
        """How long answers of *kind* are good."""
        return int(getattr(self, f"cache_{kind}_s"))
