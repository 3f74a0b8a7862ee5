"""Whether DVC's cache, and what the stages left in the folder, hold what their hashes say.

DVC trusts its cache: an object that a disk or a person garbled is checked out as it is, and `dvc repro` says that all
is well. It trusts a file of unchanged size and time too. Here every byte is read.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from iebaker.doctor import Finding
from iebaker.errors import IebakerError
from iebaker.project.lock import read_lock

OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
SHOWN = 20  # findings of a kind
Tree = dict[str, str]


def check() -> Iterator[Finding]:
    """Garbled objects of the cache, then outs that are not what dvc.lock says."""
    try:
        outs = {out["path"]: out["md5"] for stage in read_lock().values() for out in stage.get("outs", [])}
    except IebakerError:
        return  # the doctor has another check for it
    cache = cache_folder()
    garbled = set(_garbled(cache))
    trees = {path: tree for path, md5 in outs.items() if (tree := _tree(cache, md5, garbled)) is not None}
    for number, file in enumerate(sorted(garbled)):
        md5 = f"{file.parent.name}{file.name}"
        used = sorted(path for path, own in outs.items() if md5 == own or md5 in trees.get(path, {}).values())
        belongs = f", of {', '.join(used[:3])}" if used else ", of an earlier run"
        if number < SHOWN:
            yield Finding(
                bool(used),
                f"{file} is garbled{belongs}: remove it (rm -f {file}); `dvc pull` gets it again, or `make repro` "
                "makes it again",
            )
    if len(garbled) > SHOWN:
        yield Finding(True, f"{len(garbled) - SHOWN} more objects of DVC's cache are garbled")
    for path, md5 in outs.items():
        if reason := _difference(Path(path), md5, trees.get(path)):
            yield Finding(
                True, f"{path} {reason}: `dvc checkout --force {path}` puts it back, `make repro` makes it again"
            )


def cache_folder() -> Path:
    """Where DVC keeps its objects, by the first two digits of their MD5.

    Raises:
        IebakerError: if this is no project of DVC, or its configuration cannot be read.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return Path(repo.cache.local.path)
    except NotDvcRepoError as error:
        raise IebakerError("this is no project of DVC; run this in the project's folder") from error
    except DvcException as error:
        raise IebakerError(f"DVC's cache is unknown: {error}; mend .dvc/config or .dvc/config.local") from error


def _garbled(cache: Path) -> Iterator[Path]:
    files = [file for file in sorted(cache.glob("??/*")) if OBJECT.fullmatch(file.name)]
    for file in tqdm(files, desc="DVC's cache", unit="object", leave=False):
        if _md5(file) != f"{file.parent.name}{file.name}".removesuffix(".dir"):
            yield file


def _tree(cache: Path, md5: str, garbled: set[Path]) -> Tree | None:
    """MD5 by relative name of a folder's files; None for a file, and for what the cache does not have or garbled."""
    file = cache / md5[:2] / md5[2:]
    if not md5.endswith(".dir") or file in garbled or not file.is_file():
        return None
    entries: list[dict[str, Any]] = json.loads(file.read_bytes())
    return {entry["relpath"]: entry["md5"] for entry in entries}


def _difference(path: Path, md5: str, tree: Tree | None) -> str:
    """What is wrong with an out that is there, "" if nothing is or it cannot be known."""
    if path.is_file() and not md5.endswith(".dir"):
        return "" if _md5(path) == md5 else "is not what dvc.lock says"
    if path.is_dir() and tree is not None:
        wrong = [name for name, own in tree.items() if (path / name).is_file() and _md5(path / name) != own]
        return f"is not what dvc.lock says ({', '.join(wrong[:3])})" if wrong else ""
    return ""


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
