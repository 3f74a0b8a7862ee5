"""Contents of listed files by SHA-256, remembered by size and time so that a file is read only when it changed."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from iebaker.atomic import replacing_file
from iebaker.errors import IebakerError
from iebaker.search import archive as layout
from iebaker.search.listing import ListedFile, Roots, sha256_of
from iebaker.search.stac import item_of

FOLDER = "hashes"
COLUMNS = ["href", "size", "changed", "sha256"]


class Hashes:
    """What is remembered of an archive's files on this machine, one file a shard."""

    def __init__(self, archive: Path) -> None:
        self.folder = archive / layout.LOCAL / FOLDER
        self._known: dict[tuple[str, int, int], str] = {}
        for path in sorted(self.folder.glob("[0-9]*.parquet")):
            for *key, sha256 in pd.read_parquet(path)[COLUMNS].itertuples(index=False):
                self._known[tuple(key)] = sha256

    def of(
        self, roots: Roots, files: Sequence[ListedFile], shard: str
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(href, SHA-256) of the files that can be read, and (href, why) of the others; remembers them."""
        seen, unread = [], []
        for file in files:
            key = file.href, file.size, file.changed
            try:
                seen.append((*key, self._known.get(key) or content_of(roots, file.href)))
            except (IebakerError, OSError) as error:
                unread.append((file.href, " ".join(str(error).split())))
        with replacing_file(self.folder / f"{shard}.parquet") as partial:
            pd.DataFrame(seen, columns=COLUMNS).to_parquet(partial, index=False)
        return [(row[0], row[-1]) for row in seen], unread

    def forget(self, shards: set[str]) -> None:
        """Drop all but these shards."""
        for path in self.folder.glob("*.parquet"):
            if path.stem not in shards:
                path.unlink()


def content_of(roots: Roots, href: str) -> str:
    """SHA-256 of a file, and of the STAC item beside it if there is one."""
    item = item_of(roots, href)
    with roots.open(href) as file:
        content = sha256_of(file)
    if item is None:
        return content
    return hashlib.sha256(f"{content} {json.dumps(item, sort_keys=True)}".encode()).hexdigest()
