"""What an interrupted training goes on from."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from iebaker.atomic import replacing_file, write_text

INDEX_FILE = "checkpoint.json"


class Damaged(ValueError):
    """A file of the checkpoint is not what was written."""


class Checkpoint:
    """The state of one training after its last finished epoch, in a folder of its own.

    `checkpoint.json` names the training and the SHA-256 of the other files: the state, which is loaded without
    unpickling anything but tensors and plain values, and the table of the epoch's pairs as parquet. Both are named by
    their epoch and the index is replaced last, so that a kill leaves three files of one epoch.

    Args:
        folder: where it lies; None of its files means that there is nothing to go on from.
        fingerprint: of the training; the state of another one is ignored.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, state: dict[str, Any], seen: pd.DataFrame) -> None:
        """Replace the state in one step: a kill leaves the old one or the new one, never half of one."""
        names = self._names(state["epoch"])
        with replacing_file(self.folder / names[0]) as partial:
            torch.save(state, partial)
            sums = {names[0]: _digest(partial)}
        with replacing_file(self.folder / names[1]) as partial:
            seen.to_parquet(partial, index=False)
            sums[names[1]] = _digest(partial)
        index = {"fingerprint": self.fingerprint, "epoch": state["epoch"], "sha256": sums}
        write_text(self.folder / INDEX_FILE, json.dumps(index, indent=1) + "\n")
        for pattern in ("*.pt", "*.parquet"):
            for file in self.folder.glob(pattern):
                if file.name not in names:
                    file.unlink()

    def load(self) -> tuple[dict[str, Any], pd.DataFrame] | None:
        """State and table, if they are whole and of the same training."""
        index_file = self.folder / INDEX_FILE
        if not index_file.exists():
            return None
        try:
            index = json.loads(index_file.read_text(encoding="utf-8"))
            if index["fingerprint"] != self.fingerprint:
                return None
            files = [self.folder / name for name in self._names(int(index["epoch"]))]
            for file in files:
                if _digest(file) != index["sha256"][file.name]:
                    raise Damaged(file.name)
            return torch.load(files[0], map_location="cpu", weights_only=True), pd.read_parquet(files[1])
        # a damaged file fails in as many ways as there are bytes
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
            tqdm.write(f"{self.folder}: the checkpoint is damaged ({type(error).__name__}): starting anew")
            return None

    def _names(self, epoch: int) -> tuple[str, str]:
        return f"state_{epoch}.pt", f"seen_{epoch}.parquet"


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
