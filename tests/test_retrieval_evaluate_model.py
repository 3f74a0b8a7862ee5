"""`iebaker evaluate-model`: any model on any data, in one command."""

import json
import os
import shutil
import sys
import zipfile
from contextlib import chdir

import numpy as np
import pytest
import torch
import yaml
from conftest import PARAMS, resolved, run
from datasets_builders import write_csv, write_images
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.config.params import SyntheticParams
from iebaker.corpus.loading import split_of
from iebaker.datasets.evaluation_split import EvaluationSplit
from iebaker.metrics.summary import SplitMetrics
from iebaker.model import factory
from iebaker.model.adapters import PooledOnly
from iebaker.retrieval.evaluate_model import evaluate_model
from iebaker.retrieval.export import export
from iebaker.retrieval.fusion import UNSCALED, fused
from iebaker.scenes import write_raw


def evaluate(*arguments, folder=None):
    with chdir(folder or "."):
        return CliRunner().invoke(app, ["evaluate-model", *map(str, arguments)])


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A dataset as published, in Karpathy's layout, named after a benchmark."""
    folder = tmp_path_factory.mktemp("raw") / "UCM_captions"
    write_raw(folder, SyntheticParams(train=4, val=5, test=12, image_size=96, weak_rate=0, seed=0))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder as a training leaves it; it was trained on local similarity too."""
    folder = tmp_path_factory.mktemp("model") / "0"
    torch.manual_seed(0)
    config = resolved()[0]
    factory.save(factory.create(config.model), folder, config.model_dump())
    return folder


@pytest.fixture
def project(prepared, raw, tmp_path):
    """A project folder: one benchmark prepared, one declared with a source on disk, one with an address."""
    shutil.copytree(prepared, tmp_path / "data/prepared")
    there = {"source": str(raw), "image_size": 96}
    declared = PARAMS["benchmark"] | {"here": there, "away": {"source": "https://example.org/away.zip"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"benchmark": declared}))
    return tmp_path


def test_numbers_are_those_of_the_pipeline(model, project, corpus, tmp_path):
    towers = factory.load(model)
    local = resolved()[0].local
    export(towers, corpus, local, 0, tmp_path / "similarity")
    split = split_of(corpus[0], "test")
    params = resolved(fusion={"global_weight": 0.6, "local_weight": 0.4})[1].fusion
    for weight, fusion in ((0, params.model_copy(update={"global_weight": 1, "local_weight": 0})), (0.4, params)):
        scores = fused(tmp_path / "similarity/synthetic/test", fusion, UNSCALED)
        expected = SplitMetrics(split.image_of_text, split.captions).measure("plain", scores, scores)
        done = evaluate("--model", model, "--data", "synthetic", "--local-weight", weight, folder=project)
        found = json.loads(done.stdout)
        summary = SplitMetrics(split.image_of_text, split.captions).summary({k: [v] for k, v in expected.items()})
        assert found["metrics"]["plain"] == pytest.approx(summary["plain"], abs=1e-3)
        assert found["metrics"]["ceiling"] == summary["ceiling"]
    assert "stored at 96 pixels" in found["notes"][0] and found["similarity"] == "0.6 global + 0.4 local"


def test_a_folder_a_zip_and_a_declared_source_give_the_same(model, raw, project, tmp_path):
    with zipfile.ZipFile(tmp_path / "UCM.zip", "w") as archive:
        for file in sorted(raw.rglob("*.*")):
            archive.write(file, file.relative_to(raw))
    before = sorted(tmp_path.rglob("*"))
    done = [evaluate("--model", model, "--data", data, folder=project) for data in (raw, tmp_path / "UCM.zip", "here")]
    assert [one.exit_code for one in done] == [0, 0, 0], [one.stderr for one in done]
    found = [json.loads(one.stdout) for one in done]
    assert found[0]["metrics"] == found[1]["metrics"] == found[2]["metrics"]
    assert (found[0]["images"], found[0]["captions"], found[0]["left_out"]) == (12, 60, 0)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written into the project
    assert found[0]["benchmark"] == "ucm" and "within_interval" in found[0]["published"][0]
    assert "RemoteCLIP" in done[0].stderr and "difference" in done[0].stderr
    assert found[2]["benchmark"] == "" and "no published" in done[2].stderr


def test_skyscript_has_its_own_prompt_queries_and_published_rows(model, raw, tmp_path):
    done = evaluate("--model", model, "--data", raw, "--protocol", "skyscript", "--json", tmp_path / "out.json")
    found = json.loads(done.stdout)
    assert json.loads((tmp_path / "out.json").read_text()) == found
    assert found["prompt"] == "a satellite image. {}"
    assert found["queries"] == {"image_to_text": 12, "text_to_image": found["distinct_captions"]}
    assert {row["protocol"] for row in found["published"]} == {"skyscript"}
    assert set(found["metrics"]) == {"plain"} and "i2t_mean" in found["metrics"]["plain"]
    plain = json.loads(evaluate("--model", model, "--data", raw, "--protocol", "skyscript", "--prompt", "{}").stdout)
    assert plain["metrics"] != found["metrics"]
    assert "{} must stand" in evaluate("--model", model, "--data", raw, "--prompt", "a port").stderr


def test_what_is_missing_is_left_out_and_counted(model, tmp_path):
    names = {"a_1.jpg": "test", "b_1.jpg": "test", "gone_1.jpg": "test"}
    write_images(tmp_path / "mine/images", [name for name in names if "gone" not in name])
    write_csv(tmp_path / "mine/captions.csv", [(name, f"caption of {name}", split) for name, split in names.items()])
    done = evaluate("--model", model, "--data", tmp_path / "mine")
    found = json.loads(done.stdout)
    assert (found["images"], found["left_out"]) == (2, 1) and "1 left out" in done.stderr
    (tmp_path / "mine/images/a_1.jpg").write_bytes(b"no image")
    assert "a_1.jpg: not a readable image" in evaluate("--model", model, "--data", tmp_path / "mine").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere"], "neither a file or folder nor a benchmark (there: "),
        (["--data", "away"], "none of its sources lies on disk; run `dvc repro 'prepare@away'`"),
        (["--data", "data"], "is not there (there: nothing)"),
        (["--data", "params.yaml"], "give the folder that holds"),
        (["--data", "here", "--device", "gpu7"], "gpu7"),
        (["--data", "here", "--pretrained", "openai"], "brings its own weights"),
    ],
)
def test_what_cannot_be_evaluated_is_said(model, project, arguments, says):
    shutil.rmtree(project / "data/prepared")
    (project / "data/x").mkdir()
    done = evaluate("--model", model, *arguments, folder=project)
    assert done.exit_code == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_a_model_without_tokens_gives_global_numbers_and_says_so(model):
    towers = factory.load(model)
    towers.image.adapter = PooledOnly(towers.clip.visual, "no reason")
    split = EvaluationSplit("tiny", lambda size: [np.zeros((size, size, 3), np.uint8)] * 2, ["a", "b"], np.arange(2))
    found = evaluate_model(towers, split, "strict", "{}", local_weight=0.4)
    assert found["similarity"] == "global" and "has no local tokens (no reason)" in found["notes"][0]
    # equal images tie everywhere
    assert found["metrics"]["plain"]["i2t_R@1"] == found["metrics"]["plain"]["t2i_R@1"] == 50
    assert found["decided_by_ties"]["text_to_image"] == 2


def test_weights_come_from_the_hub(model, raw, tmp_path, httpserver):
    weights = (model / "model.safetensors").read_bytes()
    headers = {"ETag": '"0123456789abcdef"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(weights))}
    place = "/somebody/model/resolve/main/weights.safetensors"
    httpserver.expect_request(place).respond_with_data(weights, headers=headers)
    environment = os.environ | {"HF_ENDPOINT": httpserver.url_for("").rstrip("/"), "HF_HOME": str(tmp_path / "hub")}
    code = "from iebaker.cli import app; app()"
    options = ["--pretrained", "hf-hub:somebody/model/weights.safetensors", "--data", str(raw)]
    command = [sys.executable, "-c", code, "evaluate-model", "--model", "overhead-tiny", *options]
    found = json.loads(run(*command, cwd=tmp_path, env=environment).stdout)
    assert found["metrics"] == json.loads(evaluate("--model", model, "--data", raw).stdout)["metrics"]
