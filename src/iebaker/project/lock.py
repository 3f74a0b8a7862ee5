"""dvc.lock: whether it is whole, and the last good one, which takes its place if it is not.

DVC rewrites the file in place after each stage. A kill at that moment leaves it empty, cut off in the middle of a
line, or cut off between two stages, which DVC takes for a lock that never had the others. What is put back may be older
than the last finished stages; DVC then takes their results from its run cache.
"""

import fcntl
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from iebaker.atomic import replacing_file
from iebaker.doctor import Finding
from iebaker.errors import IebakerError
from iebaker.layout import LOCK

DVC_TMP = Path(".dvc/tmp")  # DVC keeps it out of git
GOOD = DVC_TMP / "iebaker" / LOCK
DAMAGED = DVC_TMP / "iebaker" / f"{LOCK}.damaged"
REMEDY = "`make repro` or `iebaker restore-lock` puts back the last good one"


def read_lock() -> dict[str, Any]:
    """Stages of dvc.lock by name, empty where there is no lock yet.

    Raises:
        IebakerError: if it is damaged.
    """
    if not LOCK.exists():
        return {}
    try:
        return parse(LOCK.read_bytes())
    except IebakerError as error:
        raise IebakerError(f"{LOCK} {error}; {REMEDY}") from error


def parse(content: bytes) -> dict[str, Any]:
    """Stages by name of what a dvc.lock holds.

    Raises:
        IebakerError: saying what is wrong with it.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # half a second, which most commands need not wait for
    from voluptuous import Invalid

    if not content.strip():
        raise IebakerError("is empty")
    if re.search(rb"^(<{7}|>{7}) ", content, re.MULTILINE):
        raise IebakerError("has git's conflict markers")
    try:
        data = yaml.load(content.decode("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
        return dict(COMPILED_LOCKFILE_SCHEMA(data).get("stages", {}))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise IebakerError("is cut off or garbled") from error
    except Invalid as error:
        raise IebakerError(f"is not what DVC writes ({error})") from error


def damage() -> str | None:
    """What is wrong with dvc.lock, in words that follow its name; None if it is whole or not there.

    DVC takes no stage out of a lock: one that has only the first stages of the last good copy was cut off, unless it is
    the one that git has.
    """
    if not LOCK.exists():
        return None
    content = LOCK.read_bytes()
    try:
        stages = list(parse(content))
    except IebakerError as error:
        return str(error)
    in_git = committed() or b""
    good = GOOD.read_bytes() if GOOD.exists() else in_git
    kept = _names(good)
    if content not in (good, in_git) and stages == kept[: len(stages)]:
        if lost := len(kept) - len(stages):
            return f"was cut off and has lost its last {lost} stages"
        if good.startswith(content):
            return "was cut off in its last stage"
    return None


def check() -> Iterator[Finding]:
    """The doctor's question: a damaged dvc.lock, with which no DVC command works, or stages are lost without a word."""
    if reason := damage():
        yield Finding(True, f"{LOCK} {reason}: {REMEDY}")


def keep() -> None:
    """Copy dvc.lock to where it outlives a kill, if it is whole."""
    if not LOCK.exists() or (GOOD.exists() and GOOD.read_bytes() == LOCK.read_bytes()):
        return
    if damage() is None:
        _write(GOOD, LOCK.read_bytes())


def restore() -> list[str]:
    """Put back what a kill of DVC damaged; one line for each file that was, none if all is well.

    The damaged lock is kept beside the copy. Without a copy and without a commit that has one, dvc.lock is moved there,
    and DVC finds finished stages in its run cache.
    """
    said = []
    if reason := damage():
        content, origin = last_good()
        _write(DAMAGED, LOCK.read_bytes())
        if content is None:
            LOCK.unlink()
        else:
            _write(LOCK, content)
        said.append(f"{LOCK} {reason}: {origin}; the damaged one is {DAMAGED}")
    running = DVC_TMP / "rwlock"  # which processes use which files; DVC writes it in place as well
    if running.exists():
        try:
            json.loads(running.read_bytes() or b"!")
        except ValueError:
            running.unlink()
            said.append(f"{running} was cut off: removed; it only names processes that ran")
    return said


def last_good() -> tuple[bytes | None, str]:
    """Content to put back and where it comes from, the newer of the copy and the commit; None if there is neither."""
    found = []
    if GOOD.exists() and _names(GOOD.read_bytes()):
        found.append((GOOD.stat().st_mtime, GOOD.read_bytes(), "put back as it was after the last good stage"))
    if (content := committed()) and _names(content):
        seconds = git("log", "-1", "--format=%ct", "HEAD", "--", str(LOCK)) or b"0"
        found.append((float(seconds), content, "put back as git has it"))
    if not found:
        return None, "moved away, no good one is known"
    _, content, origin = max(found)
    return content, origin


def committed() -> bytes | None:
    """dvc.lock of the last commit."""
    return git("show", f"HEAD:./{LOCK}")


def git(*arguments: str) -> bytes | None:
    """What a git command prints; None if it fails or git is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


@contextmanager
def dvc_is_idle() -> Iterator[bool]:
    """Keep DVC from writing during the block, if it is not about to; False if it is.

    DVC holds the same lock whenever it writes, and releases it while a stage runs.
    """
    DVC_TMP.mkdir(exist_ok=True)
    with (DVC_TMP / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _names(content: bytes) -> list[str]:
    """Stages of a lock, none if it is damaged."""
    try:
        return list(parse(content))
    except IebakerError:
        return []


def _write(destination: Path, content: bytes) -> None:
    with replacing_file(destination) as partial:
        partial.write_bytes(content)
