"""SAR: sort after reversed retrieval, and its relatives (method: SAR)."""

from iebaker.rerank.selection import Bank, Choice, Selection, apply, select

__all__ = ["Bank", "Choice", "Selection", "apply", "select"]
