"""Disk cache of frozen trunks' features: minutes of work that every variant and seed would repeat."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from iebaker.atomic import replacing_file
from iebaker.model.adapters import Trunk
from iebaker.model.provenance import code_digest

CODE = ("images.py", "model")


class FeatureStore:
    """Features by the content of all that they depend on: weights, inputs, code, libraries, threads.

    Args:
        folder: where they lie, one file each; may be deleted at any time. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, made_of: Iterable[bytes], device: str, make: Callable[[], Trunk]) -> Trunk:
        """What `make` gave for the same content, or what it gives now.

        Args:
            made_of: trunk and inputs, as bytes.
            device: kind of device, since values differ in the last digits.
            make: runs the trunk.
        """
        if self.folder is None:
            return make()
        digest = hashlib.sha256(f"{device} {torch.get_num_threads()}".encode() + code_digest(*CODE))
        for part in made_of:
            digest.update(hashlib.sha256(part).digest())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if not path.exists():
            with replacing_file(path) as partial:
                save_file(make()._asdict(), partial)
        return Trunk(**load_file(path))
