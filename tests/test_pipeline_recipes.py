"""Every stage of dvc.yaml, run once for each recipe that params.yaml declares, on a benchmark of a few drawings."""

import json
import math
from copy import deepcopy
from itertools import product
from pathlib import Path

import pytest
import yaml
from conftest import PARAMS, ROOT, write_params
from report_fixtures import run_script

from iebaker.config.files import read_evaluation, read_training

pytestmark = pytest.mark.timeout(600)  # whichever test comes first waits for the fixture, too
RECIPES = PARAMS["recipes"]
SHRUNK = {"train": {"epochs": 1, "batch_size": 12, "warmup_steps": 1}, "eba": {"start_epoch": 0}}
# these weights would have to be downloaded; all else of the recipe stays
WITHOUT_WEIGHTS = {"published": {"model": {"name": "overhead-tiny", "pretrained": ""}}}
CORPORA = {name: {"benchmarks": ["synthetic"], "recipe": name, **deepcopy(SHRUNK), **WITHOUT_WEIGHTS.get(name, {})}
           for name in RECIPES}  # fmt: skip
CHANGES = {
    "corpora": list(RECIPES),
    "corpus": CORPORA,
    "variants": ["full"],
    "archives": list(RECIPES),
    "archive": {name: dict(PARAMS["archive"]["synthetic"]) for name in RECIPES},
    "synthetic": PARAMS["synthetic"] | {"train": 12, "val": 6, "test": 6},
    "keywords": PARAMS["keywords"] | {"min_count": 2},
    "sar": PARAMS["sar"] | {"bank_size": 8},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with one corpus a recipe, after all of its stages."""
    folder = write_params(tmp_path_factory.mktemp("recipes"), **CHANGES)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        axes = [params[axis.strip("${}")] for axis in stage.get("matrix", {}).values()]
        for item in product(*axes):
            run_script(name, *map(str, item), cwd=folder)
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_stage_runs_with_every_recipe(recipe, project):
    place = project / "data/config" / recipe / "full"
    resolved = {**dict(read_training(place)), **dict(read_evaluation(place))}
    for section, values in RECIPES[recipe].items():
        expected = values | CORPORA[recipe].get(section, {})
        assert resolved[section].model_dump().items() >= expected.items()
    history = json.loads((project / "data/models" / recipe / "full/0/history.json").read_text())
    assert len(history) == 1 and all(math.isfinite(epoch["loss"]) for epoch in history)
    test = json.loads((project / f"reports/metrics/{recipe}/full.json").read_text())["synthetic"]["test"]
    assert 0 < test["plain"]["mR"] <= 100 and 0 < test["sar"]["mR"] <= 100
    assert (project / f"reports/ablation/{recipe}/ablation.svg").stat().st_size > 1000
    assert any((project / "data/archives" / recipe).iterdir())
    assert recipe in (project / "reports/index.html").read_text()


def test_the_published_recipe_names_the_papers_model(tmp_path):
    """Its weights are not here: its training is not run as it stands, only configured."""
    run_script("configure", "ret3", "full", cwd=write_params(tmp_path))
    model = read_training(tmp_path / "data/config/ret3/full").model
    assert (model.name, model.pretrained) == ("ViT-B-32-quickgelu", "openai")
