"""Results of a corpus as the stages leave them, made up in a second: everything that tables and the report read."""

import json
import runpy
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT

from iebaker.config.declarations import resolve
from iebaker.config.files import write_configuration
from iebaker.corpus.loading import Member, split_of
from iebaker.datasets import audit, keywords
from iebaker.layout import Folders
from iebaker.metrics import elimination as eba_audit
from iebaker.report.results import CorpusResults, open_results

QUALITY = {"baseline": 1.0, "eba-decoupled": 1.3, "full": 1.6}
SEEDS = [0, 1]
EPOCHS = 4
SELECTED = {
    "variants": list(QUALITY),
    "seeds": SEEDS,
    "benchmarks": ["synthetic"],
    "corpora": ["synthetic"],
}
PUBLISHED_FUSION = {"global_weight": 0.6, "local_weight": 0.4, "standardise": False}


@pytest.fixture(name="project", scope="session")
def made_up_project(tmp_path_factory, prepared: Path, corpus: list[Member]) -> Path:
    """The project of `write_project` with its ablation drawn, made once for all test modules."""
    folder = tmp_path_factory.getbasetemp() / "made-up"
    if not folder.exists():
        write_project(folder, prepared, corpus[0])
        run_script("plot_ablation", "synthetic", cwd=folder)
    return folder


def open_project(folder: Path, **changes: object) -> CorpusResults:
    """Its results, with some of its params changed."""
    params = yaml.safe_load((folder / "params.yaml").read_text()) | changes
    return open_results(params, "synthetic", Folders().below(folder))


def write_project(folder: Path, prepared: Path, member: Member) -> Path:
    """A project in `folder` with made-up trainings and similarities; the stage `rerank` computes the metrics."""
    folder.mkdir(exist_ok=True)
    params = PARAMS | SELECTED | {"fusion": PUBLISHED_FUSION}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for variant in QUALITY:
        write_configuration(folder / "data/config/synthetic" / variant, *resolve(params, "synthetic", variant))
    shutil.copytree(prepared / "synthetic", folder / "data/prepared/synthetic")
    mined = folder / "data/keywords/synthetic"
    mined.mkdir(parents=True)
    counts = range(len(member.keywords) + 10, 10, -1)
    keywords.write(pd.DataFrame({"keyword": member.keywords, "count": counts}), mined)
    (folder / "reports").mkdir()
    report = audit.audit({"synthetic": member.manifest}, {"synthetic": ["synthetic"]})
    (folder / "reports/audit.json").write_text(json.dumps(report))
    stream = np.random.default_rng(0)
    for variant, quality in QUALITY.items():
        for seed in SEEDS:
            place = f"synthetic/{variant}/{seed}"
            _write_training(folder / "data/models" / place, member, quality, stream)
            _write_log(folder / "data/logs" / f"{place}.json")
            for split in ("val", "test"):
                _write_matrices(
                    folder / "data/similarity" / place / "synthetic" / split, member, split, quality, stream
                )
        run_script("rerank", "synthetic", variant, cwd=folder)
    return folder


def run_script(name: str, *arguments: str, cwd: Path) -> None:
    """A stage's script in this process: a new one would spend seconds on importing torch."""
    sys.path.insert(0, str(ROOT / "pipeline"))
    try:
        with chdir(cwd):
            runpy.run_path(str(ROOT / "pipeline" / f"{name}.py"))["main"](*arguments)
    finally:
        sys.path.remove(str(ROOT / "pipeline"))


def _write_matrices(folder: Path, member: Member, split: str, quality: float, stream: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    chosen = split_of(member, split)
    own = chosen.image_of_text[:, None] == np.arange(len(chosen.image_ids))
    for name in ("global", "local"):
        noise = stream.normal(size=own.shape) + stream.normal(size=own.shape[1])
        scores = (noise + 1.5 * quality * own).astype(np.float32)
        first = np.unique(chosen.captions, return_index=True, return_inverse=True)
        np.save(folder / f"{name}.npy", scores[first[1]][first[2]])  # identical captions have identical scores
    rows = {"caption_id": chosen.caption_ids, "caption": chosen.captions, "image_of_text": chosen.image_of_text}
    pd.DataFrame(rows).to_parquet(folder / "texts.parquet", index=False)
    names = member.manifest.drop_duplicates("image_id").set_index("image_id")["filename"]
    columns = {"image_id": chosen.image_ids, "filename": names[chosen.image_ids].to_numpy()}
    pd.DataFrame(columns).to_parquet(folder / "images.parquet", index=False)


def _write_training(folder: Path, member: Member, quality: float, stream: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    pairs = member.manifest[member.manifest["split"] == "train"].drop_duplicates("image_id")
    pairs = pairs[["image_id", "caption", "weak"]].assign(member=0).reset_index(drop=True)
    history = []
    for epoch in range(EPOCHS):
        active = quality > 1 and epoch >= 2
        record = {"epoch": epoch, "loss": 9 - epoch, "loss_retrieval": 8 - epoch, "val_mR": 50 + epoch * quality}
        record["elimination"] = {}
        for name in ("global", "local"):
            values = stream.normal(size=len(pairs)) + 2.5 * (pairs["weak"] == "").to_numpy()
            threshold = float(np.quantile(values, 0.15)) if active else None
            dropped = values <= threshold if active else np.zeros(len(pairs), bool)
            found = eba_audit.elimination_audit(values, dropped, pairs["weak"].to_numpy())
            record["elimination"][name] = {"threshold": threshold, **found}
            pairs = pairs.assign(**{name: values, f"dropped_{name}": dropped})
        history.append(record)
    (folder / "history.json").write_text(json.dumps(history))
    summary = {"best_epoch": EPOCHS - 1, "val_mR": history[-1]["val_mR"], "pairs": len(pairs), "steps": 8}
    summary |= {"pairs_per_epoch": len(pairs), "left_out_images": 0, "separation": {"auroc": 0.9, "auroc_other": 0.95}}
    (folder / "training.json").write_text(json.dumps(summary))
    pairs.to_parquet(folder / "last_epoch.parquet", index=False)


def _write_log(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"device": "cpu", "seconds": 41.5, "training_seconds": 38.0, "samples_per_second": 730.0}
    path.write_text(json.dumps(machine))
