"""SIGKILL, Ctrl-C and SIGTERM against `iebaker repro` of a tiny pipeline: what comes out must equal an untouched run.

    python tests/attack/signals.py 40 20 10      # how many of each

One chain of runs: each is hit at a random moment, every third the moment dvc.lock is written, and the next goes on from
what is left. When a chain has ended by itself its results are compared byte by byte with those of a run that nobody
touched, in a clone at another path, and a new chain starts from nothing.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import yaml
from project_clone import Clone

TINY = {
    "variants": ["full"],
    "archives": [],
    "synthetic": {"train": 60, "val": 12, "test": 12, "image_size": 32, "weak_rate": 0.2, "seed": 0},
    "benchmark": {"synthetic": {"source": "synthetic", "image_size": 32}},
    "train": {"epochs": 3, "batch_size": 20, "warmup_steps": 2, "threads": 1},
    "eba": {"start_epoch": 1, "drop_ratio": 0.3},
    "keywords": {"size": 64, "min_count": 2},
    "sar": {"bank_size": 20},
}
REPRO = [sys.executable, "-c", "from iebaker.cli import app; app()", "repro"]
# of this machine, or what is kept between runs
OWN = ("data/logs", "data/resume", "data/features", "data/downloads", "reports/machine.md")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
LONGEST = 600  # seconds


def environment(clone: Clone) -> dict[str, str]:
    """Of a run: without a home and without an identity for git."""
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CONFIG_HOME")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {
        "PATH": path,
        "PYTHONPATH": str(clone.folder / "src"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",
    }


def results(clone: Clone) -> dict[str, str]:
    """SHA-256 of every out in the clone's folder, and DVC's own hash of each."""
    found = {}
    for root in ("data", "reports"):
        for path in sorted((clone.folder / root).rglob("*")):
            name = path.relative_to(clone.folder).as_posix()
            if path.is_file() and path.name != ".gitignore" and not name.startswith(OWN):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]
    return found | {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def start(clone: Clone, log: Path) -> psutil.Popen:
    with log.open("w") as stream:
        return psutil.Popen(
            REPRO, cwd=clone.folder, env=environment(clone), stdout=stream, stderr=stream, start_new_session=True
        )


def hit(process: psutil.Popen, number: int) -> None:
    """A kill reaches every process at once, like a power cut; a request to end only the one that was started."""
    if number == signal.SIGKILL:
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
    else:
        process.send_signal(number)


def wait_to_hit(process: psutil.Popen, clone: Clone, delay: float, at_write: bool) -> bool:
    """Wait for the moment; False if the run has ended by itself before."""
    lock, begun = clone.folder / "dvc.lock", time.monotonic()
    before = None
    while time.monotonic() - begun < (LONGEST if at_write else delay):
        if process.poll() is not None:
            return False
        state = lock.stat() if lock.exists() else None
        if at_write and state and before and (state.st_mtime_ns, state.st_size) != before:
            return True
        before = (state.st_mtime_ns, state.st_size) if state else (0, 0)
        time.sleep(0.0005 if at_write else 0.05)
    return process.poll() is None


def wipe(clone: Clone) -> None:
    """As after `git clone`."""
    for name in ("data", "reports/metrics", "reports/ablation", ".dvc/cache", ".dvc/tmp", "dvc.lock"):
        path = clone.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True) if path.is_file() else None
    clone("git", "checkout", "-q", ".")


@dataclass
class Attack:
    """One chain after another in one clone.

    Attributes:
        expected: results of a run that nobody touched.
        since: the signals of this chain.
    """

    clone: Clone
    log: Path
    expected: dict[str, str]
    tried: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    since: list[str] = field(default_factory=list)
    chains: int = 0

    def strike(self, process: psutil.Popen, name: str, at_write: bool) -> None:
        """Send the signal; the run must end, and a request to end leaves no traceback."""
        hit(process, SIGNALS[name])
        try:
            process.wait(120)
        except psutil.TimeoutExpired:
            self.problems.append(f"{name}: does not end")
            hit(process, signal.SIGKILL)
        said = self.log.read_text()
        if name != "kill" and "Traceback" in said:
            self.problems.append(f"{name}: {said[-3000:]}")
        self.tried[name] += 1
        self.since.append(f"{name}{' at write' if at_write else ''}")

    def end(self, process: psutil.Popen) -> str:
        """Let the run end, compare, and leave the clone as it was; "equal" or "differs"."""
        status = process.wait(LONGEST * 2)
        found = results(self.clone) if status == 0 else {}
        if different := sorted(key for key in {*found, *self.expected} if found.get(key) != self.expected.get(key)):
            said = self.log.read_text()[-1500:]
            self.problems.append(f"after {self.since}: exit {status}, different {different[:5]}: {said}")
        self.since, self.chains = [], self.chains + 1
        wipe(self.clone)
        return "differs" if different else "equal"


def attack(folder: Path, wanted: list[str], generator: random.Random) -> Attack:
    """Hit runs in one clone until nothing is wanted any more; compare with another clone at another path."""
    untouched, attacked = Clone(folder / "untouched", TINY), Clone(folder / "ä path, with spaces", TINY)
    for clone in (untouched, attacked):
        clone("git", "config", "--unset", "user.name")
        clone("git", "config", "--unset", "user.email")
    log, begun = folder / "log", time.monotonic()
    assert start(untouched, log).wait(LONGEST * 2) == 0, log.read_text()
    state = Attack(attacked, log, results(untouched))
    print(f"untouched: {len(state.expected)} files and outs, {time.monotonic() - begun:.0f} s", flush=True)
    while wanted or state.since:
        process = start(attacked, log)
        at_write = bool(wanted) and len(wanted) % 3 == 0
        if wanted and wait_to_hit(process, attacked, generator.uniform(1, 25), at_write):
            state.strike(process, wanted.pop(), at_write)
            said = f"{sum(state.tried.values())}: {state.since[-1]}"
        else:
            said = f"{len(state.since)} signals, then the end of chain {state.chains + 1}: {state.end(process)}"
        print(f"{said}, {time.monotonic() - begun:.0f} s", flush=True)
    return state


def main(counts: list[int], seed: int = 0) -> None:
    wanted = [name for name, count in zip(SIGNALS, counts, strict=True) for _ in range(count)]
    generator = random.Random(seed)
    generator.shuffle(wanted)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        state = attack(Path(folder), wanted, generator)
    print(json.dumps({"tried": state.tried, "chains": state.chains, "problems": state.problems}, indent=1))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:4]])
