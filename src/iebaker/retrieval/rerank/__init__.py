"""SAR: sort after reversed retrieval, and its relatives (method: SAR)."""

from iebaker.retrieval.rerank.selection import BankScores, Choice, Selection, apply, select

__all__ = ["BankScores", "Choice", "Selection", "apply", "select"]
