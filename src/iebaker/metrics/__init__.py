"""Recall at K under ties, caption ceilings, intervals and tests (method: Evaluation)."""
