"""The page and its REST API (extra `web`)."""
