"""What frozen trunks give, kept in memory and on disk: minutes of work that every variant and seed would repeat."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
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


class Kept:
    """What a frozen trunk gave for items, item by item.

    Args:
        keys: of the items; equal keys have equal features.
        features: of the items in this order.
    """

    def __init__(self, keys: Sequence[Hashable], features: Trunk) -> None:
        self.features, self._row_of = features, {key: row for row, key in enumerate(keys)}

    def of(self, keys: Sequence[Hashable], trim: bool) -> Trunk | None:
        """Features of the items of these keys; None unless all are there.

        Args:
            trim: whether columns that are padding in every item are cut.
        """
        if not all(key in self._row_of for key in keys):
            return None
        rows = [self._row_of[key] for key in keys]
        pooled, tokens, padding = (values[rows] for values in self.features)
        if trim and padding.shape[1]:
            longest = int((~padding).sum(1).max())
            tokens, padding = tokens[:, :longest], padding[:, :longest]
        return Trunk(pooled, tokens, padding)


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
