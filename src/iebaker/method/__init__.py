"""The paper: similarity, elimination (EBA), keyword reasoning (KER) and the objective."""
