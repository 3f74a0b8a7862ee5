"""All benchmarks: one table, and one file beside it with the hardware.

A subject is a module with `rows() -> Iterator[Measurement]`; adding one is adding its name to SUBJECTS.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from iebaker.atomic import write_text
from iebaker.bench import growth
from iebaker.bench.measure import Measurement
from iebaker.errors import IebakerError

SUBJECTS = ("similarity", "step", "reranking", "accelerator", "growth")
COLUMNS = (
    "",
    "ours s",
    "naive s",
    "plain s",
    "bound s",
    "naive/ours",
    "plain/ours",
    "bound/ours",
    "peak GB",
    "naive GB",
)


def run(subjects: Sequence[str], out: Path, figures: Path, say: Callable[[str], object], largest: int | None) -> None:
    """Measure the subjects, print one table, and write `out`, which keeps what it says of other subjects.

    Args:
        subjects: of SUBJECTS.
        out: JSON; per subject its rows and the hardware that they were measured on.
        figures: folder for growth.svg.
        say: prints a line.
        largest: images that growth goes to; None for what minutes allow. A table in `out` that goes further stays.

    Raises:
        IebakerError: if there is no such subject.
    """
    for subject in subjects:
        if subject not in SUBJECTS:
            raise IebakerError(f"{subject} is no benchmark; choose from {', '.join(SUBJECTS)}")
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for line in (COLUMNS, ("---",) * len(COLUMNS)):
        say(as_line(line))
    notes = []
    for subject in subjects:
        options = {"largest": largest} if subject == "growth" and largest else {}
        rows = list[Measurement]()
        for row in import_module(f"iebaker.bench.{subject}").rows(**options):
            rows.append(row)
            say(as_line(cells(row)))
            notes += [f"{row.name}: {row.note}"] if row.note else []
        if not rows:
            notes.append(f"{subject}: nothing here to measure")
            continue
        notes += growth.said_of(rows) if subject == "growth" else []
        if subject == "growth" and len(rows) < len(found.get(subject, {}).get("rows", [])):
            notes.append(f"growth: {out} keeps its table, which goes further; delete that to keep this one")
            continue
        found[subject] = {"hardware": hardware(), "rows": [asdict(row) for row in rows]}
        ordered = {name: found[name] for name in SUBJECTS if name in found}
        write_text(out, json.dumps(ordered, indent=1, allow_nan=False) + "\n")
        if subject == "growth":
            growth.draw(rows, figures / "growth.svg")
    for note in notes:
        say(note)


def as_line(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def cells(row: Measurement) -> tuple[str, ...]:
    """One row as the table shows it: seconds, ratios to ours, gigabytes (10^9 bytes)."""
    others = (row.naive, row.plain, row.bound)
    seconds = [_number(value, 1, ".3g") for value in (row.ours, *others)]
    ratios = [_number(value, row.ours, ".2f") for value in others]
    return row.name, *seconds, *ratios, *(_number(value, 1e9, ".2f") for value in (row.ours_peak, row.naive_peak))


def hardware() -> dict[str, Any]:
    """What the numbers depend on; nothing that names the machine or its user."""
    import torch

    model = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model[0] if model else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "torch": torch.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _number(value: float | None, unit: float, form: str) -> str:
    return "" if value is None else format(value / unit, form)
