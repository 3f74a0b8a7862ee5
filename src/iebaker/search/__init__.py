"""Search in one's own images: an archive of embeddings in files, and queries by words, by an image, or both."""
