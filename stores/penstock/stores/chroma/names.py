"""What a collection is called in Chroma, which takes 3 to 512 characters and no two dots in a row."""

from __future__ import annotations


def chroma_name(collection: str) -> str:
    """Another name for every collection."""
    if ".." in collection:
        return f"penstock.{collection.encode().hex()}"
    return f"penstock-{collection}-v"
