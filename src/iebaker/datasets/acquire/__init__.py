"""Acquiring a benchmark's published files: located, fetched, verified, and laid down with their origin."""
