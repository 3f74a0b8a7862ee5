"""Two local workers of Ray against one process."""

import os

import pytest
from search_fixtures import shareable, write_images, write_model
from typer.testing import CliRunner

from iebaker.cli import app

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="the extra ray is not installed")


def index(*arguments):
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


@pytest.mark.timeout(600)  # starting Ray takes a minute on a busy machine
def test_two_workers_write_the_bytes_of_one_process(tmp_path):
    model, images = write_model(tmp_path / "model"), write_images(tmp_path / "images", range(23))
    (images / "broken.png").write_bytes(b"no image")
    told = ["--model", model, "--images", images, "--tokens", "--captions", model / "captions.txt"]
    told += ["--files-per-shard", 5]
    alone = index(tmp_path / "alone/archive", *told)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        together = index(tmp_path / "ray/archive", *told, "--engine", "ray")
        again = index(tmp_path / "ray/archive", *told, "--engine", "ray")
    finally:
        ray.shutdown()
    for done in (alone, together):
        assert "23 embedded" in done.stderr and "5 written" in done.stderr and "1 files refused" in done.stderr, done
    assert "0 embedded" in again.stderr and "5 complete" in again.stderr
    assert shareable(tmp_path / "alone/archive") == shareable(tmp_path / "ray/archive")


def test_shares_and_ray_are_not_mixed(tmp_path):
    wrong = index(tmp_path / "a", "--engine", "ray", "--shard", "1/2")
    assert wrong.exit_code == 2 and "leave out --shard" in wrong.stderr
