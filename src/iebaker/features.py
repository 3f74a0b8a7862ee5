"""What frozen trunks gave, kept on disk: minutes of work that every variant, seed and experiment would repeat."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from iebaker.model.adapters import Trunk


class FeatureStore:
    """Features by the content of all that they depend on, so that none is ever out of date.

    Args:
        folder: where they lie, one file each; may be deleted at any time. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, made_of: Iterable[bytes], device: str, make: Callable[[], Trunk]) -> Trunk:
        """What `make` gave for the same content on the same kind of device, or what it gives now.

        Args:
            made_of: trunk and inputs, as bytes.
            device: kind of device, since values differ in the last digits.
            make: runs the trunk.
        """
        if self.folder is None:
            return make()
        digest = hashlib.sha256(f"{torch.__version__} {device}".encode())
        for part in made_of:
            digest.update(hashlib.sha256(part).digest())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if not path.exists():
            trunk = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            save_file(trunk._asdict(), temporary)
            os.replace(temporary, path)
        return Trunk(**load_file(path))
