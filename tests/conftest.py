"""Tiny corpora, and a repository to run DVC in."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from iebaker.config.params import DataParams, SyntheticParams
from iebaker.corpus.loading import KEYWORDS_FILE, MANIFEST_FILE, VIEW_FILE, Member, open_corpus
from iebaker.datasets import keywords as mining
from iebaker.datasets import prepare, sources

# shared machines stall: time is no property of the code under test; and one commit gives one result, so the examples
# are the same in every run (pytest --hypothesis-profile=explore draws new ones)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

ROOT = Path(__file__).parents[1]
FIXTURES = Path(__file__).parent / "fixtures"
TINY = SyntheticParams(train=120, val=24, test=24, image_size=96, weak_rate=0.2, seed=0)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """data/prepared with a tiny synthetic benchmark."""
    root = tmp_path_factory.mktemp("tiny")
    params = DataParams(source="synthetic", image_size=96)
    sources.acquire("synthetic", params, TINY, root / "raw/synthetic", root / "downloads")
    prepare.prepare(root / "raw/synthetic", params, root / "prepared/synthetic")
    return root / "prepared"


@pytest.fixture(scope="session")
def corpus(prepared: Path) -> list[Member]:
    """The tiny synthetic benchmark as a corpus."""
    return open_corpus(write_corpus(prepared, ["synthetic"], prepared.parent / "corpora/tiny"), prepared)


def write_corpus(prepared: Path, benchmarks: list[str], folder: Path) -> Path:
    """A corpus folder as the stage `join` writes it."""
    import pandas as pd

    for benchmark in benchmarks:
        view = folder / benchmark
        view.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(prepared / benchmark / MANIFEST_FILE, view / MANIFEST_FILE)
        manifest = pd.read_parquet(view / MANIFEST_FILE)
        captions = manifest[manifest["split"] == "train"].groupby("image_id")["caption"].agg(list)
        (view / KEYWORDS_FILE).write_text("\n".join(mining.mine(captions, 64, 2)["keyword"]))
        summary = json.loads((prepared / benchmark / "summary.json").read_text())
        (view / VIEW_FILE).write_text(json.dumps({"pixels_sha256": summary["pixels_sha256"]}))
    return folder


@pytest.fixture(autouse=True)
def torch_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def run(*command: str, cwd: Path, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    """A command in `cwd`, its output captured; a failure shows it."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **kwargs)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done
