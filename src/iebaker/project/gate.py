"""The gate: what is worse in the working tree than in a git revision.

What counts, for each file below reports/metrics, benchmark, split (val, test) and ranking (plain, sar):

- mR fell beyond noise. Where the hits of both sides are at hand (in data/evaluation, or in DVC's cache under the hash
  in dvc.lock), over the same images and as many seeds, noise is the paired 95% interval of the difference: it fails if
  the whole interval lies below -tolerance. Otherwise noise is what the revision states: it fails if mR is below the
  lower end of its 95% interval by more than the tolerance. The second takes two runs over the same images for
  correlated by a half or more, as they are.
- A number that the revision has is not there, or any number is not finite.
- A stage would run again: its command, parameters, code or data are not those in dvc.lock.
- More near-duplicates across splits than in the revision, or more training images dropped for them.

What only the working tree has is new, and no regression.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iebaker.errors import IebakerError
from iebaker.layout import AUDIT, METRICS
from iebaker.metrics.elimination import ELIMINATION
from iebaker.metrics.significance import compare
from iebaker.project.sides import Behind, Side, Unreadable
from iebaker.project.staleness import stale
from iebaker.retrieval.matrices import EVALUATION_SPLITS

if TYPE_CHECKING:
    from dvc.repo import Repo

RANKINGS = ("plain", "sar")
ABSENT_WITH_ONE_SEED = "mR_std"


@dataclass(frozen=True)
class Change:
    """One mR on both sides, in percent.

    Attributes:
        low, high: 95% interval of noise, in points: of the paired difference, or as stated around the revision's mR.
        rule: "paired" or "stated"; empty where mR did not fall.
    """

    file: str
    benchmark: str
    split: str
    ranking: str
    base: float
    here: float
    low: float | None = None
    high: float | None = None
    rule: str = ""
    regressed: bool = False

    @property
    def place(self) -> str:
        """Corpus, variant, benchmark, split and ranking in words."""
        name = Path(self.file).relative_to(METRICS).with_suffix("")
        return f"{name}: {self.benchmark} {self.split} {self.ranking}"


@dataclass(frozen=True)
class Finding:
    """Something for which the gate fails; `kind` is regression, vanished, not finite, unreadable, stale or leakage."""

    kind: str
    text: str


@dataclass
class Result:
    """What the gate found; it passes without findings."""

    base: str
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": not self.findings} | asdict(self)


def gate(base: str, tolerance: float = 0.0, only: Collection[str] = ()) -> Result:
    """Compare the working tree with the commit `base`.

    Args:
        tolerance: points of mR that may be lost beyond noise.
        only: benchmarks whose metrics and leakage are compared; all if empty. Staleness is that of all stages.

    Raises:
        IebakerError: if there is nothing to compare with.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    before, here = Side.of(base), Side()
    if not before.metrics:
        raise IebakerError(f"{base} has no file below {METRICS}, and there is nothing to compare with")
    known = {benchmark for side in (before, here) for data in side.metrics.values() for benchmark in data}
    if unknown := sorted(set(only) - known):
        raise IebakerError(f"no metrics of {', '.join(unknown)} on either side; known: {', '.join(sorted(known))}")
    try:
        with Repo() as repo:
            result = Result(before.revision)
            result.findings += check_numbers(before, here, only)
            result.changes += changes(repo, before, here, tolerance, only)
            result.findings += [Finding("regression", describe(one)) for one in result.changes if one.regressed]
            result.findings += [Finding("stale", f"{why}: {_some(names)}") for why, names in stale(repo).items()]
            result.findings += leakage(before, here, only)
    except DvcException as error:
        raise IebakerError(f"DVC: {error}") from error
    return result


def check_numbers(before: Side, here: Side, only: Collection[str]) -> Iterator[Finding]:
    """Numbers that vanished or are none."""
    for file, data in before.metrics.items():
        if file not in here.metrics:
            if not only or any(benchmark in data for benchmark in only):
                yield Finding("vanished", str(file))
        elif not isinstance(here.metrics[file], Unreadable):
            for key in _vanished(_of(data, only), here.metrics[file]):
                yield Finding("vanished", f"{file}: {key}")
    for file, data in here.metrics.items():
        if isinstance(data, Unreadable):
            yield Finding("unreadable", f"{file} is no JSON object")
        for key, value in _numbers(_of(data, only)):
            if not math.isfinite(value):
                yield Finding("not finite", f"{file}: {key} is {value}")


def changes(repo: "Repo", before: Side, here: Side, tolerance: float, only: Collection[str]) -> Iterator[Change]:
    """Each mR that both sides have."""
    for file in sorted(before.metrics.keys() & here.metrics.keys()):
        base, now = (_of(side.metrics[file], only) for side in (before, here))
        for benchmark in sorted((base.keys() & now.keys()) - {ELIMINATION}):
            pairs = {
                (split, ranking): values
                for split in EVALUATION_SPLITS
                for ranking in RANKINGS
                if (values := _pair(base[benchmark], now[benchmark], split, ranking))
            }
            fell = any(values[1]["mR"] < values[0]["mR"] for values in pairs.values())
            sides: list[Behind | None] = (
                [side.hits(repo, file, benchmark) for side in (before, here)] if fell else [None, None]
            )
            for (split, ranking), (old, new) in pairs.items():
                change = Change(str(file), benchmark, split, ranking, old["mR"], new["mR"])
                yield _judged(change, old, sides, tolerance) if new["mR"] < old["mR"] else change


def _judged(change: Change, old: Mapping[str, Any], sides: list[Behind | None], tolerance: float) -> Change:
    """A fall, with its noise."""
    difference = change.here - change.base
    if interval := _paired(sides, change.split, change.ranking):
        low, high = interval
        return replace(change, low=low, high=high, rule="paired", regressed=high < -tolerance)
    # a revision that states no interval has no noise to fall within
    low, high = (_number(old.get(key, change.base)) or change.base for key in ("mR_low", "mR_high"))
    low, high = low - change.base, high - change.base
    return replace(change, low=low, high=high, rule="stated", regressed=difference < low - tolerance)


def _paired(sides: list[Behind | None], split: str, ranking: str) -> tuple[float, float] | None:
    """95% interval of the difference in mR; None without hits of the same images and as many seeds on both sides."""
    found = [(side.hits.get(split, {}).get(ranking), side.image_of_text.get(split)) for side in sides if side]
    if len(found) < 2:
        return None
    (old, owners), (new, owners_now) = found
    if owners is None or owners_now is None or not np.array_equal(owners, owners_now):
        return None
    if not old or not new or len(old) != len(new):
        return None
    difference = compare(old, {"here": new}, owners)["here"]
    return difference["low"], difference["high"]


def leakage(before: Side, here: Side, only: Collection[str]) -> Iterator[Finding]:
    """Counts in reports/audit.json that rose."""
    if before.audit is None:
        return
    if here.audit is None or isinstance(here.audit, Unreadable):
        yield Finding("vanished" if here.audit is None else "unreadable", str(AUDIT))
        return
    old, new = dict(_leaks(before.audit, only)), dict(_leaks(here.audit, only))
    for key in old.keys() & new.keys():
        if new[key] > old[key]:
            yield Finding("leakage", f"{AUDIT}: {key} rose from {old[key]} to {new[key]}")


def _leaks(audit: Mapping[str, Any], only: Collection[str]) -> Iterator[tuple[str, int]]:
    for benchmark, found in _of(audit.get("benchmarks", {}), only).items():
        for splits, pairs in found.get("near_duplicates", {}).items():
            if "-" in splits:
                yield f"near-duplicates of {benchmark}, {splits}", pairs["pairs"]
    for corpus, members in audit.get("corpora", {}).items():
        for benchmark, view in _of(members, only).items():
            yield f"dropped images of {corpus}/{benchmark}", view["dropped_images"]


def describe(change: Change) -> str:
    """A fall in words."""
    return (
        f"{change.place}: mR {change.base:.2f} -> {change.here:.2f} ({change.here - change.base:+.2f}), "
        f"{change.rule} 95% interval {change.low:+.2f} to {change.high:+.2f}"
    )


def as_text(result: Result) -> str:
    """What a person reads: each mR that moved, each finding, and the verdict."""
    moved = [one for one in result.changes if one.here != one.base]
    width = max((len(one.place) for one in moved), default=0)
    lines = []
    for one in moved:
        noise = f"{one.rule:>7} {one.low:+6.2f} to {one.high:+6.2f}" if one.rule else ""
        verdict = "REGRESSION" if one.regressed else "within noise" if one.rule else "better"
        change = f"{one.base:6.2f} -> {one.here:6.2f}  {one.here - one.base:+6.2f}"
        lines.append(f"{one.place:{width}}  {change}  {noise:26}  {verdict}")
    lines += [f"{finding.kind}: {finding.text}" for finding in result.findings if finding.kind != "regression"]
    verdict = f"FAILED, {len(result.findings)} findings" if result.findings else "passed"
    lines.append(f"{verdict}: {len(result.changes)} mR compared with {result.base[:10]}, {len(moved)} moved")
    return "\n".join(lines)


def _of(data: Mapping[str, Any], only: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if not only or key in only}


def _pair(base: Any, now: Any, split: str, ranking: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Both sides' values, if both have a number for mR."""
    found = [side.get(split, {}).get(ranking, {}) for side in (base, now) if isinstance(side, dict)]
    if len(found) < 2 or any(_number(values.get("mR")) is None for values in found):
        return None
    return found[0], found[1]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _vanished(base: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in base.items():
        if key == ABSENT_WITH_ONE_SEED or value is None:
            continue
        if key not in now or now[key] is None or isinstance(value, dict) != isinstance(now[key], dict):
            yield f"{prefix}{key}"
        elif isinstance(value, dict):
            yield from _vanished(value, now[key], f"{prefix}{key}.")


def _numbers(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", float(value)


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more stages" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
