"""The sides that the gate compares, the working tree and a git revision, and the hits behind their metrics."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iebaker.errors import IebakerError
from iebaker.layout import AUDIT, EVALUATION, LOCK, METRICS
from iebaker.metrics.recall import Hits, recalls
from iebaker.project.lock import git, parse
from iebaker.retrieval.evaluation import HITS_SUFFIX, read_hits, read_image_of_text

if TYPE_CHECKING:
    from dvc.repo import Repo

# of mR as stated, which is rounded, from mR of the hits it was computed of
ROUNDING = 1e-3


class Unreadable(dict[str, Any]):
    """Stands for a file that is no JSON object."""


@dataclass(frozen=True)
class Side:
    """One state of a project.

    Attributes:
        revision: full hash of a commit; empty for the working tree.
    """

    revision: str = ""

    @classmethod
    def of(cls, revision: str) -> "Side":
        """The commit that `revision` names.

        Raises:
            IebakerError: if git knows no such commit, or this is no repository.
        """
        if git("rev-parse", "--git-dir") is None:
            raise IebakerError("this folder is in no git repository, and there is nothing to compare with")
        found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if found is None:
            raise IebakerError(
                f"git knows no commit {revision!r}; fetch it (a shallow clone has few: git fetch --unshallow)"
            )
        return cls(found.decode().strip())

    def read(self, path: Path) -> bytes | None:
        """A file's content, None where it is not there."""
        if self.revision:
            return git("show", f"{self.revision}:./{path.as_posix()}")
        return path.read_bytes() if path.is_file() else None

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """A JSON object, None where the file is not there."""
        content = self.read(path)
        if content is None:
            return None
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            return Unreadable()
        return data if isinstance(data, dict) else Unreadable()

    @cached_property
    def metrics(self) -> dict[Path, dict[str, Any]]:
        """What each file below reports/metrics holds."""
        if self.revision:
            listed = git("ls-tree", "-r", "-z", "--name-only", self.revision, "--", f"{METRICS}/") or b""
            files = [Path(name) for name in listed.decode().split("\0") if name.endswith(".json")]
        else:
            files = sorted(METRICS.rglob("*.json"))
        return {file: data for file in files if (data := self.read_json(file)) is not None}

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """reports/audit.json."""
        return self.read_json(AUDIT)

    @cached_property
    def outs(self) -> dict[Path, str]:
        """DVC's hash of each out in dvc.lock; none for a lock that is damaged."""
        try:
            stages = parse(self.read(LOCK) or b"")
        except IebakerError:
            return {}
        return {Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs", [])}

    def hits(self, repo: "Repo", metrics_file: Path, benchmark: str) -> "Behind | None":
        """Hits of the images behind a metrics file, from DVC's cache or the working tree; None if they are not there.

        Never from a remote. Hits that do not give the stated mR belong to another run and don't count.
        """
        name = EVALUATION / metrics_file.relative_to(METRICS).with_suffix("")
        for folder in self._folders(repo, name, benchmark):
            try:
                hits = read_hits(folder, benchmark)
                owners = {split: read_image_of_text(folder, benchmark, split) for split in hits}
            except (OSError, ValueError, KeyError):
                continue
            if agree(hits, self.metrics[metrics_file][benchmark]):
                return Behind(hits, owners)
        return None

    def _folders(self, repo: "Repo", name: Path, benchmark: str) -> Iterator[Path]:
        if cached := _cached(repo, self.outs.get(name), f"{benchmark}{HITS_SUFFIX}"):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, f"{benchmark}{HITS_SUFFIX}").symlink_to(cached)
                yield Path(folder)
        if not self.revision:
            yield name


@dataclass(frozen=True)
class Behind:
    """Per split and name ("plain", "sar", ...) the hits of each seed, and per split the image of each text."""

    hits: Mapping[str, Mapping[str, list[Hits]]]
    image_of_text: Mapping[str, np.ndarray]


def agree(hits: Mapping[str, Mapping[str, list[Hits]]], stated: Mapping[str, Any]) -> bool:
    """Whether the hits give the mR that a metrics file states."""
    for split, names in hits.items():
        for name, seeds in names.items():
            value = stated.get(split, {}).get(name, {}).get("mR")
            if not isinstance(value, int | float):
                return False
            if not abs(np.mean([recalls(of_seed)["mR"] for of_seed in seeds]) - value) <= ROUNDING:
                return False
    return True


def _cached(repo: "Repo", folder_hash: str | None, name: str) -> Path | None:
    """Where DVC's cache has one file of a folder."""
    from dvc_data.hashfile import load
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.errors import ObjectFormatError

    if not folder_hash:
        return None
    cache = repo.cache.local
    try:
        tree: Any = load(cache, HashInfo("md5", folder_hash))  # of a folder; of a file it would be a HashFile
        for key, _, file_hash in tree:
            path = Path(cache.oid_to_path(file_hash.value))
            if key == (name,) and path.exists():
                return path.absolute()
    except (FileNotFoundError, ObjectFormatError):
        pass
    return None
