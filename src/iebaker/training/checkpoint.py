"""What an interrupted training goes on from."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from iebaker.atomic import replacing_file

STATE_FILE = "state.pt"


class Checkpoint:
    """The state of one training after its last finished epoch, in a folder of its own.

    Tensors and plain values lie in `state.pt`, which is loaded without unpickling anything else; the table of the
    epoch's pairs lies beside it as parquet, named by its epoch, so that a kill leaves two files of one epoch.

    Args:
        folder: where it lies; None of its files means that there is nothing to go on from.
        fingerprint: of the training; the state of another one is ignored.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, state: dict[str, Any], seen: pd.DataFrame) -> None:
        """Replace the state in one step: a kill leaves the old one or the new one, never half of one."""
        with replacing_file(self._table(state["epoch"])) as partial:
            seen.to_parquet(partial, index=False)
        with replacing_file(self.folder / STATE_FILE) as partial:
            torch.save({"fingerprint": self.fingerprint, **state}, partial)
        for table in set(self.folder.glob("*.parquet")) - {self._table(state["epoch"])}:
            table.unlink()

    def load(self) -> tuple[dict[str, Any], pd.DataFrame] | None:
        """State and table, if they are whole and of the same training."""
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["fingerprint"] != self.fingerprint:
                return None
            return state, pd.read_parquet(self._table(state["epoch"]))
        # a damaged file fails in as many ways as there are bytes
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
            tqdm.write(f"{path} is damaged ({type(error).__name__}): starting anew")
            return None

    def remove(self) -> None:
        """Forget it; the results are elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _table(self, epoch: int) -> Path:
        return self.folder / f"seen_{epoch}.parquet"
