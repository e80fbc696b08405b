"""How long to wait between two questions about what is stored."""

from __future__ import annotations

_SOONEST_S, _SOONEST_OF_MANY_S = 0.001, 0.002
_MANY = 16
"""Where more wait than these, each question brings news of some, and its cost counts more than its being soon."""

_LONGEST_S = 0.05
_SLOWER = 1.1
"""A question that brings no news is asked again so much later: what is found is a tenth late, for 0.1 ms of processor
time a question."""


class Pace:
    """The pauses of one who asks again and again."""

    def __init__(self) -> None:
        self.delay_s = _SOONEST_S
        """The pause to make now."""
        self.soonest_s = _SOONEST_S
        """What of it is kept also when somebody new waits."""

    def answered(self, *, has_news: bool, waiting: int) -> None:
        """An answer has come; it *has news* where somebody waits no more, or new ones do."""
        self.soonest_s = _SOONEST_OF_MANY_S if waiting > _MANY else _SOONEST_S
        slower = min(self.delay_s * _SLOWER, _LONGEST_S)
        self.delay_s = self.soonest_s if has_news else max(slower, self.soonest_s)

    def failed(self) -> None:
        """No answer came."""
        self.delay_s = _LONGEST_S
