"""The `penstock` command. `exits` documents its exit codes."""

from penstock.cli.entry import main

__all__ = ["main"]
