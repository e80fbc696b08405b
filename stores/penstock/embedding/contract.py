"""What an embedder is, and what it may raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from penstock.stores.errors import StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EmbedderUnavailable(StoreUnavailable):
    """The model could not answer: try the same texts again later. Nothing was stored."""


class EmbedderRejected(StoreRejected):
    """The model will never take one of these texts. Nothing was stored."""


class Embedder(Protocol):
    """A model that makes vectors of texts: the same text always the same vector, as far as the model can."""

    @property
    def name(self) -> str:
        """Which model: a vector that is kept for one name is given for no other."""
        ...

    @property
    def batch_size(self) -> int:
        """Most texts of one call."""
        ...

    async def embed(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """The vectors of 1 to `batch_size` *texts*, in their order: float32, of shape (n, dimension), finite.

        Several calls may run at once. A cancelled call may still cost what the model costs.

        Raises:
            EmbedderUnavailable: Nothing is wrong with the texts.
            EmbedderRejected: Something is wrong with at least one of them; alone, with this one.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and memory. May be repeated."""
        ...
