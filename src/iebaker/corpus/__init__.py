"""What is trained on: manifests and pixels of prepared benchmarks, pairs of an epoch, near-duplicates."""
