"""Parameters, tiny corpora, and commands in a folder."""

import subprocess
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings

from iebaker.config.declarations import resolve
from iebaker.config.params import (
    BenchmarkParams,
    EvaluationConfig,
    KeywordsParams,
    Section,
    SyntheticParams,
    TrainingConfig,
)
from iebaker.corpus import manifest
from iebaker.corpus.loading import Member, open_corpus, write_view
from iebaker.datasets import keywords, prepare
from iebaker.datasets.acquire.catalogue import acquire

# shared machines stall: time is no property of the code under test; and one commit gives one result, so the examples
# are the same in every run (pytest --hypothesis-profile=explore draws new ones)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

ROOT = Path(__file__).parents[1]
FIXTURES = Path(__file__).parent / "fixtures"
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
Values = TypeVar("Values", bound=Section)


def resolved(**sections: dict[str, Any]) -> tuple[TrainingConfig, EvaluationConfig]:
    """What params.yaml says of the corpus synthetic, with some values of its sections changed."""
    changed = {name: PARAMS[name] | values for name, values in sections.items()}
    return resolve(PARAMS | changed, "synthetic", "full")


def section(model: type[Values], **changes: Any) -> Values:
    """One section of that, by its class, with some of its values changed."""
    plain = {SyntheticParams: PARAMS["synthetic"], KeywordsParams: PARAMS["keywords"]}
    layered = {type(values): values for config in resolved() for _, values in config}
    return model.model_validate(dict((plain | layered)[model]) | changes)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that start the real DVC come first, in any random order: workers then end at about the same time."""
    longest = ("test_pipeline.py", "test_pipeline", "test_project")
    items.sort(key=lambda item: next((rank for rank, name in enumerate(longest) if item.path.name.startswith(name)), 3))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """data/prepared with a tiny synthetic benchmark."""
    root = tmp_path_factory.mktemp("tiny")
    params = BenchmarkParams(source="synthetic", image_size=96)
    tiny = section(SyntheticParams, train=120, val=24, test=24)
    acquire("synthetic", params, tiny, root / "raw/synthetic", root / "downloads")
    prepare.prepare(root / "raw/synthetic", params, root / "prepared/synthetic")
    return root / "prepared"


@pytest.fixture(scope="session")
def corpus(prepared: Path) -> list[Member]:
    """The tiny synthetic benchmark as a corpus."""
    return open_corpus(write_corpus(prepared, ["synthetic"], prepared.parent / "corpora/tiny"), prepared)


def write_corpus(prepared: Path, benchmarks: list[str], folder: Path) -> Path:
    """A corpus folder as the stages `mine_keywords` and `join` write it."""
    for benchmark in benchmarks:
        table = manifest.read(prepared / benchmark / manifest.FILE)
        captions = table[table["split"] == "train"].groupby("image_id")["caption"].agg(list)
        mined, view = folder.parent / "keywords" / benchmark, folder / benchmark
        for place in (mined, view):
            place.mkdir(parents=True, exist_ok=True)
        keywords.write(keywords.mine(captions, 64, 2), mined)
        write_view(prepared / benchmark, mined, view)
    return folder


@pytest.fixture(autouse=True)
def torch_settings() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(False)  # which a training of another test has set


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def run(*command: str, cwd: Path, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
    """A command in `cwd`, its output captured; a failure shows it."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **kwargs)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def quoted(path: str) -> str:
    """A file of reports/ as the pages quote it: the committed one, which runs of one's own overwrite.

    While a page is being written, which git tells, the one on disk.
    """
    pages = run("git", "diff", "--quiet", "HEAD", "--", "README.md", "docs", cwd=ROOT, check=False)
    kept = run("git", "show", f"HEAD:{path}", cwd=ROOT, check=False)
    return (ROOT / path).read_text() if pages.returncode or kept.returncode else kept.stdout


def write_params(folder: Path, **changes: object) -> Path:
    """A project's folder with a params.yaml in which some keys are others."""
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS | changes, sort_keys=False))
    return folder
