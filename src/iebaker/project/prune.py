"""Results of seeds, variants and members that params.yaml no longer names.

Stages that depend on a folder of all seeds would otherwise still see them. DVC's cache keeps what is removed here, and
corpora that are not selected at the moment stay as they are.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iebaker.layout import CONFIG, CORPORA, EVALUATION, METRICS, MODELS, SIMILARITY


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
            for depth, names in enumerate(levels, start=1):
                for path in sorted(root.glob("/".join("*" * depth))):
                    if path.name not in names:
                        yield path


def prune(params: Mapping[str, Any]) -> list[Path]:
    """Remove what is undeclared; the paths that were."""
    removed = []
    for path in undeclared(params):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        removed.append(path)
    return removed
