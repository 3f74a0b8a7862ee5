"""`iebaker repro`: DVC's repro, after which a kill or Ctrl-C has lost nothing.

DVC runs as a child process in a process group of its own, so that an interrupt reaches it once, and dvc.lock is looked
after before, while and after it runs.
"""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from iebaker.config.machine import check_machine
from iebaker.errors import REMEDIES, IebakerError
from iebaker.layout import LOCK
from iebaker.project import lock
from iebaker.project.parameters import load_params
from iebaker.project.prune import prune
from iebaker.project.verify import cache_folder

RUNNING = lock.DVC_TMP / "iebaker" / "running"
LOOK_EVERY = 0.5  # seconds
NEARLY_FULL = 200 * 2**20  # free bytes: DVC removes what it couldn't finish, after which a full disk has some
SIGNAL_EVERY = 10.0  # seconds, until DVC and its stage end: an import or a destructor may swallow a KeyboardInterrupt
# DVC, which an interrupt during its imports ends without a word instead of with their traceback
DVC = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
import dvc.commands.repro, dvc.repo.open_repo
from dvc.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Say = Callable[[str], None]


def repro(arguments: Sequence[str], say: Say) -> int:
    """Run `dvc repro` with `arguments`; its exit status, or 128 + the signal that ended it.

    Before: params.yaml is checked, a damaged dvc.lock put back, and results that are no longer declared cleared away.
    A second repro of the same folder waits for the first.

    Args:
        say: takes each line that is for the user.

    Raises:
        IebakerError: if params.yaml is wrong, or this is no project of DVC.
    """
    params = load_params()  # before DVC puts a name of it into a shell's hands
    if all(word.startswith("-") for word in arguments):  # what is named may need neither device nor data
        check_machine(params)
    if not Path(".dvc").is_dir():
        raise IebakerError(".dvc is not there; run this in the project's folder, or `dvc init` first")
    with alone(say) as handle:
        look_after_lock(say)
        for line in prune(params):
            say(line)
        before = set(lock.read_lock())
        status, ended_by = run_dvc(arguments, handle)
        look_after_lock(say)
        if ended_by:
            kept = lock.read_lock()
            new = f", {len(kept.keys() - before)} of them new" if kept.keys() - before else ""
            say(f"interrupted; {LOCK} keeps {len(kept)} stages{new}; the same command goes on from there")
        elif status:
            with suppress(IebakerError):  # without a cache there is none that could be full, and DVC has said why
                for line in full_disks():
                    say(line)
        return 128 + ended_by if ended_by else status


def full_disks() -> Iterator[str]:
    """The disks of the project and of DVC's cache that are nearly full: DVC itself doesn't say which one was."""
    devices = set()
    for folder in (Path.cwd(), cache_folder()):
        place = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(place).free
        if free < NEARLY_FULL and place.stat().st_dev not in devices:
            remedy = REMEDIES[errno.ENOSPC]
            yield f"{free / 2**20:.0f} MiB are free on the disk of {folder}; if that is why it failed, {remedy}"
        devices.add(place.stat().st_dev)


@contextmanager
def alone(say: Say) -> Iterator[TextIO]:
    """Wait until no other repro runs in this folder; the open file whose lock says so for this one.

    DVC inherits it, and so keeps the folder for as long as it runs even if this process is killed.
    """
    RUNNING.parent.mkdir(parents=True, exist_ok=True)
    with RUNNING.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            say(f"another repro of this folder is running (process {handle.read() or 'unknown'}); waiting for its end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle


def look_after_lock(say: Say) -> None:
    """Put back dvc.lock if it is damaged, else copy it; nothing while another DVC process may be writing it."""
    with lock.dvc_is_idle() as idle:
        if idle:
            for line in lock.restore():
                say(line)
            lock.keep()


def run_dvc(arguments: Sequence[str], handle: TextIO) -> tuple[int, int]:
    """Run `dvc repro`, copying dvc.lock after its stages; its exit status, and the signal that ended it or 0."""
    # stages run `python`: this one
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-c", DVC, "repro", *arguments]
    with collecting_signals() as received:
        child = subprocess.Popen(command, env=environment, process_group=0, pass_fds=(handle.fileno(),))
        handle.truncate(0)
        handle.write(str(child.pid))
        handle.flush()
        passed, again = 0, 0.0
        while True:
            if passed and passed == len(received) and time.monotonic() > again:
                passed -= 1
            for number in received[passed:]:
                _signal(child.pid, number)
                again = time.monotonic() + SIGNAL_EVERY
            passed = len(received)
            try:
                status = child.wait(LOOK_EVERY)
            except subprocess.TimeoutExpired:
                with suppress(IebakerError, OSError), lock.dvc_is_idle() as idle:  # a full disk: DVC will say so
                    if idle:
                        lock.keep()
                continue
            return status, (received[-1] if received and status else max(-status, 0))


@contextmanager
def collecting_signals() -> Iterator[list[int]]:
    """Collect signals that would end this program."""
    received: list[int] = []
    previous = {number: signal.signal(number, lambda number, _: received.append(number)) for number in PASSED_ON}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(group, number)
