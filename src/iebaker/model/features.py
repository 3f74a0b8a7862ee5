"""Disk cache of frozen trunks' features: minutes of work that every variant and seed would repeat."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from iebaker.atomic import replacing_file
from iebaker.model.adapters import Trunk
from iebaker.model.provenance import code_digest

CHECKSUM = "sha256"  # of the tensors, in the file's metadata
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
        digest = hashlib.sha256(device.encode() + code_digest(*CODE))
        for part in made_of:
            digest.update(hashlib.sha256(part).digest())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if path.exists():
            if kept := _read(path):
                return kept
            tqdm.write(f"{path} is damaged: its features are computed again")
        made = make()
        with replacing_file(path) as partial:
            save_file(made._asdict(), partial, {CHECKSUM: _digest(made)})
        return made


def _read(path: Path) -> Trunk | None:
    """The features of a file; None if they are not those that were written."""
    try:
        with safe_open(path, "pt") as file:
            written = (file.metadata() or {}).get(CHECKSUM)
        kept = Trunk(**load_file(path))
    except (SafetensorError, OSError, TypeError, ValueError, RuntimeError):
        return None
    return kept if _digest(kept) == written else None


def _digest(trunk: Trunk) -> str:
    digest = hashlib.sha256()
    for name, values in trunk._asdict().items():
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
