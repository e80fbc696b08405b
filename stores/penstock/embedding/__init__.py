"""Embedders: texts to vectors, at the worker, so that an agent only sends text."""

from penstock.embedding.contract import Embedder, EmbedderRejected, EmbedderUnavailable
from penstock.embedding.opening import as_embedder, open_embedder

__all__ = ["Embedder", "EmbedderRejected", "EmbedderUnavailable", "as_embedder", "open_embedder"]
