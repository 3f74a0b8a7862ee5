"""Results of seeds, variants and members that params.yaml no longer names.

Stages that depend on a folder of all seeds would otherwise still see them. Corpora that are not selected at the moment
stay as they are.

Only what can be had again is removed: outs of stages that are as dvc.lock says and lie in DVC's cache or in git.
Anything else is somebody's: it is moved to data/set-aside, so that neither a stage reads it nor anything is lost.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iebaker.errors import IebakerError
from iebaker.layout import CONFIG, CORPORA, EVALUATION, METRICS, MODELS, SET_ASIDE, SIMILARITY
from iebaker.project.lock import git, read_lock

if TYPE_CHECKING:
    from dvc.repo import Repo


def undeclared(params: Mapping[str, Any]) -> Iterator[Path]:
    """Paths below the selected corpora's outs that no stage declared by `params` writes."""
    benchmarks, variants, seeds = (list(map(str, params[key])) for key in ("benchmarks", "variants", "seeds"))
    for corpus in params["corpora"]:
        declared = {
            CORPORA / corpus: [benchmarks],
            CONFIG / corpus: [variants],
            MODELS / corpus: [variants, seeds],
            SIMILARITY / corpus: [variants, seeds],
            EVALUATION / corpus: [variants],
            METRICS / corpus: [[f"{variant}.json" for variant in variants]],
        }
        for root, levels in declared.items():
            parents = [root]
            for names in levels:
                found = [path for parent in parents if parent.is_dir() for path in sorted(parent.iterdir())]
                parents = [path for path in found if path.name in names]
                yield from (path for path in found if path.name not in names)


def prune(params: Mapping[str, Any]) -> Iterator[str]:
    """Clear away what is undeclared; a line for each path, saying what became of it.

    Raises:
        IebakerError: if dvc.lock is damaged, or this is no project of DVC.
    """
    paths = list(undeclared(params))
    if not paths:
        return
    if not Path(".dvc").is_dir():
        raise IebakerError(".dvc is not there: this is no project of DVC; run this in the project's folder")
    from dvc.repo import Repo  # half a second, which only this needs

    with Repo() as repo:
        outs = {Path(out["path"]): out["md5"] for stage in read_lock().values() for out in stage.get("outs", [])}
        for path in paths:
            if path.name == ".gitignore" or repo.dvcignore.is_ignored(repo.fs, str(path.absolute())):
                continue  # no stage sees it
            for out in [out for out in outs if path in (out, *out.parents)]:
                if out.exists() and can_be_had_again(repo, out, outs[out]):
                    shutil.rmtree(out) if out.is_dir() else out.unlink()
            if holds_something(path):
                yield f"moved {path} to {set_aside(path)}: not declared in params.yaml, and no stage's unchanged result"
            else:
                shutil.rmtree(path, ignore_errors=True)
                yield f"removed {path}: not declared in params.yaml; DVC's cache or git keeps it"


def holds_something(path: Path) -> bool:
    """Whether `path` is anything but folders."""
    if path.is_dir() and not path.is_symlink():
        return any(map(holds_something, path.iterdir()))
    return os.path.lexists(path)


def can_be_had_again(repo: "Repo", path: Path, expected: str) -> bool:
    """Whether `path` holds what DVC's hash of it says, and DVC's cache or the last commit has all of that."""
    from dvc_data.hashfile import check, load
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.errors import ObjectFormatError

    cache = repo.cache.local
    try:
        _, _, found = build(cache, str(path.absolute()), repo.fs, "md5", dry_run=True)
        if found.hash_info.value != expected:
            return False
        if (
            git("ls-files", "--error-unmatch", str(path))
            and git("diff", "--quiet", "HEAD", "--", str(path)) is not None
        ):
            return True
        check(cache, load(cache, HashInfo("md5", expected)))
    except (FileNotFoundError, ObjectFormatError):
        return False
    return True


def set_aside(path: Path) -> Path:
    """Move `path` to the same place below data/set-aside; where it is now."""
    destination, number = SET_ASIDE / path, 1
    while destination.exists():
        number += 1
        destination = (SET_ASIDE / path).with_name(f"{path.name}.{number}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, destination)
    return destination
