"""The caption bank of an archive: training captions, for reversed retrieval and for `iebaker caption`."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.atomic import replacing_file
from iebaker.corpus.streams import stream
from iebaker.errors import IebakerError
from iebaker.search import shards
from iebaker.search.embedding import Embedder

LAST_EPOCH = "last_epoch.parquet"  # a trained model's folder keeps the pairs of its last epoch


def captions_of(model: Path, file: Path | None, size: int) -> list[str]:
    """At most `size` distinct captions, drawn the same on every call, sorted: of `file`, or what the model saw last.

    A model folder without pairs gives none.

    Raises:
        IebakerError: if the file holds no UTF-8 text.
    """
    if size == 0:
        return []
    if file is not None:
        try:
            captions = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise IebakerError(f"{file}: not UTF-8 ({error}); give a text file with one caption a line") from error
    elif (model / LAST_EPOCH).exists():
        captions = pd.read_parquet(model / LAST_EPOCH, columns=["caption"])["caption"].tolist()
    else:
        return []
    distinct = np.array(sorted({caption for caption in captions if caption}), dtype=object)
    return sorted(stream(0, "data").permutation(distinct)[:size].tolist())


def digest_of(captions: list[str]) -> str:
    """SHA-256 of a bank, "" of none."""
    return hashlib.sha256("\n".join(captions).encode()).hexdigest() if captions else ""


def write(path: Path, captions: list[str], features: np.ndarray) -> None:
    """Write captions and their features; the same bank gives the same bytes."""
    table = pa.table({"caption": pa.array(captions, pa.string()), "vector": shards.fixed_lists(features)})
    with replacing_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def features(embedder: Embedder, captions: list[str], known: Path) -> np.ndarray:
    """(B, d) float16, normalised; those that `known` holds are not computed again.

    Args:
        known: a bank that the same model wrote; may be missing.
    """
    if known.exists():
        table = pq.read_table(known)
        if table["caption"].to_pylist() == captions:
            return shards.matrix_of(table["vector"])
    return embedder.bank(captions).astype(np.float16)
