"""What works on a whole project folder: its params.yaml, results that are no longer declared, kept studies."""
