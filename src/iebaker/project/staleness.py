"""Stages that would run again: dvc.lock against dvc.yaml, params.yaml, the code, and what is there of the data.

Unlike `dvc status` it needs no data: an out or a dependency that is not there is left out, and what one stage reads is
compared with what the other wrote by their hashes in dvc.lock.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iebaker.errors import IebakerError
from iebaker.project.lock import read_lock

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


def stale(repo: "Repo") -> dict[str, list[str]]:
    """Stages by what has changed since they ran; those that always run and frozen ones are left out.

    Raises:
        IebakerError: if dvc.lock is damaged or dvc.yaml cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.stage import PipelineStage

    found: dict[str, list[str]] = {}
    known = read_lock()
    try:
        stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
        outs = {out.fs_path: out for stage in stages for out in stage.outs}
        for stage in stages:
            if not stage.always_changed and not stage.frozen:
                for reason in _reasons(stage, outs) if stage.name in known else ["never run"]:
                    found.setdefault(reason, []).append(stage.name)
    except DvcException as error:
        raise IebakerError(f"DVC cannot read the pipeline: {error}") from error
    return found


def _reasons(stage: "Stage", outs: dict[str, "Output"]) -> Iterator[str]:
    from dvc.dependency.param import ParamsDependency

    if stage.cmd_changed:
        yield "dvc.yaml: cmd modified"
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            for file, keys in dep.workspace_status().items():
                yield from (f"{file}: {key} {how}" for key, how in keys.items())
        elif dep.fs_path in outs:
            if outs[dep.fs_path].hash_info != dep.hash_info:
                yield f"{dep} made again since"
        else:
            touching = [out for path, out in outs.items() if _one_within_the_other(path, dep.fs_path, dep.fs.sep)]
            if all(out.exists for out in touching):
                yield from _differences(dep)
    for out in stage.outs:
        if out.exists:
            yield from _differences(out)


def _one_within_the_other(one: str, other: str, separator: str) -> bool:
    return one.startswith(f"{other}{separator}") or other.startswith(f"{one}{separator}")


def _differences(path: "Output") -> Iterator[str]:
    for name, how in path.workspace_status().items():
        yield f"{name} {how}"
