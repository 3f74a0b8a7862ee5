"""Parameters: what params.yaml may hold, and what it selects."""
