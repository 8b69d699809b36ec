"""The database's picks as a dataset folder, by rules that say which of them count."""

from pickapic.collect.anonymity import anonymous_id
from pickapic.collect.export.rules import Rules, rules_from
from pickapic.collect.export.writing import ABOUT, Exported, count_picks, estimate_picks, export

__all__ = [
    "ABOUT",
    "Exported",
    "Rules",
    "anonymous_id",
    "count_picks",
    "estimate_picks",
    "export",
    "rules_from",
]
