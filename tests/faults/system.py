"""A whole system in a folder, as the fault kit has it."""

from penstock.testing.system import System

__all__ = ["System"]
