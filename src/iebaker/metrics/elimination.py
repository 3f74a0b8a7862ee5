"""Does the elimination drop what is weakly correlated? For corpora whose weak pairs are known."""

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from iebaker.metrics.recall import rounded

UNTOUCHED = ""
ELIMINATION = "elimination"  # beside the benchmarks in reports/metrics


def auroc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Probability that a value of `positive` exceeds one of `negative`, ties counting half.

    The area under the receiver operating characteristic; None if either side is empty.
    """
    if len(positive) == 0 or len(negative) == 0:
        return None
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(labels, np.concatenate([positive, negative])))


def separation(values: np.ndarray, weak_kind: np.ndarray) -> dict[str, float | None]:
    """AUROC of weak against untouched pairs, low similarity meaning weak: `auroc`, and `auroc_<kind>` of each kind.

    Args:
        values: (N,) similarity of each positive pair.
        weak_kind: (N,) str, as for `elimination_audit`.
    """
    untouched = weak_kind == UNTOUCHED
    kinds = {f"auroc_{kind}": weak_kind == kind for kind in np.unique(weak_kind[~untouched]).tolist()}
    return {name: auroc(values[untouched], values[weak]) for name, weak in {"auroc": ~untouched, **kinds}.items()}


def elimination_audit(values: np.ndarray, dropped: np.ndarray, weak_kind: np.ndarray) -> dict[str, Any]:
    """Compare what an epoch dropped with the pairs that are known to be weakly correlated.

    Args:
        values: (N,) similarity of each positive pair of the epoch, global or local.
        dropped: (N,) bool, True for pairs that were no anchors.
        weak_kind: (N,) str, "" for untouched pairs, else the kind of weakness, e.g. "vague", "sibling", "other".

    Returns:
        pairs, dropped: counts; dropped_share: of all pairs; precision: share of the dropped that is weak; recall:
        share of the weak that was dropped; auroc: of weak against untouched pairs, low similarity meaning weak;
        kinds: "untouched" with its pairs and its dropped, and every kind of weakness that occurs with its auroc
        against untouched pairs too. None where a share or an area is undefined, never NaN.
    """
    weak_kind = np.asarray(weak_kind)
    untouched = weak_kind == UNTOUCHED
    weak_dropped = int((dropped & ~untouched).sum())

    def area(weak: np.ndarray) -> float | None:
        return auroc(values[untouched], values[weak])

    def counts(chosen: np.ndarray) -> dict[str, Any]:
        return {"pairs": int(chosen.sum()), "dropped": int(dropped[chosen].sum())}

    kinds = {"untouched": counts(untouched)}
    for kind in np.unique(weak_kind[~untouched]).tolist():
        chosen = weak_kind == kind
        kinds[kind] = {**counts(chosen), "auroc": area(chosen)}
    return {
        "pairs": len(values),
        "dropped": int(dropped.sum()),
        "dropped_share": _share(int(dropped.sum()), len(values)),
        "precision": _share(weak_dropped, int(dropped.sum())),
        "recall": _share(weak_dropped, int((~untouched).sum())),
        "auroc": area(~untouched),
        "kinds": kinds,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def elimination_summary(
    histories: list[list[dict[str, Any]]], trainings: list[dict[str, Any]]
) -> dict[str, dict[str, float | None]]:
    """Per similarity, what the elimination did from its first active epoch on; and `trained`, where it led.

    AUROC is the last epoch's, and under `trained` that of the model kept over all training pairs; the others are over
    all pairs of the epochs that had a threshold. Averaged over seeds. None where nothing is known to be weak, or
    nothing was dropped.

    Args:
        histories: history.json of each seed.
        trainings: training.json of each seed.
    """
    summary: dict[str, dict[str, float | None]] = {}
    for kind in histories[0][-1]["elimination"] if histories[0] else ():  # no epoch eliminates nothing
        seeds = [_elimination_of_seed(history, kind) for history in histories]
        summary[kind] = rounded({key: _mean([values[key] for values in seeds]) for key in seeds[0]})
    if separations := [training["separation"] for training in trainings if training["separation"]]:
        summary["trained"] = rounded({key: _mean([values[key] for values in separations]) for key in separations[0]})
    return summary


def _elimination_of_seed(history: list[dict[str, Any]], kind: str) -> dict[str, float | None]:
    # coupled: the global threshold decides for both
    thresholds = [[audit["threshold"] for audit in record["elimination"].values()] for record in history]
    records = [record["elimination"][kind] for record in history]
    active = [record for record, found in zip(records, thresholds, strict=True) if any(t is not None for t in found)]
    dropped, pairs = sum(record["dropped"] for record in active), sum(record["pairs"] for record in active)
    untouched = sum(record["kinds"]["untouched"]["dropped"] for record in active)
    weak = pairs - sum(record["kinds"]["untouched"]["pairs"] for record in active)
    last = records[-1]
    return {
        "auroc": last["auroc"],
        **{f"auroc_{kind}": values["auroc"] for kind, values in last["kinds"].items() if kind != "untouched"},
        "dropped_share": dropped / pairs if pairs else 0.0,
        "precision": (dropped - untouched) / dropped if dropped and weak else None,
        "recall": (dropped - untouched) / weak if weak else None,
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
