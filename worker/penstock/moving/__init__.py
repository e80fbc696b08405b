"""Moving data: exports, imports, copies, backups. No queue is needed, and none is asked."""

from penstock.moving.backups import WouldReplaceItself, back_up, export, export_to
from penstock.moving.copies import Comparison, compare, copy_table
from penstock.moving.importing import load, load_folder
from penstock.moving.loading import Loader

__all__ = [
    "Comparison",
    "Loader",
    "WouldReplaceItself",
    "back_up",
    "compare",
    "copy_table",
    "export",
    "export_to",
    "load",
    "load_folder",
]
