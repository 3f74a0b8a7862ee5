"""Files of the user that params.yaml names: what they hold now decides what has to run again."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from iebaker.config.params import KeywordsParams, ModelParams

LOCAL_DIRECTORY = "local-dir:"


def of_keywords(params: KeywordsParams) -> dict[str, str]:
    """The SHA-256 of the list of one's own, by its name."""
    return _digests([Path(params.file)] if params.file else [])


def of_model(params: ModelParams) -> dict[str, str]:
    """The SHA-256 of each file that a training starts from, by its name: a checkpoint, or a model's folder.

    Nothing of what is fetched or installed, nor of a file that is not there, which the training says itself.
    """
    return _digests(_files(params))


def _files(params: ModelParams) -> Iterator[Path]:
    if params.name.startswith(LOCAL_DIRECTORY):
        folder = Path(params.name.removeprefix(LOCAL_DIRECTORY))
        yield from sorted(folder.iterdir()) if folder.is_dir() else ()
    if params.pretrained:
        yield Path(params.pretrained)


def _digests(files: Iterable[Path]) -> dict[str, str]:
    found = {}
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
