import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from iebaker.cli import app

SCORE_KEYS = {"mR", "mR_std", "mR_low", "mR_high", "i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10"}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def matrix(tmp_path):
    def save(name="scores.npy", images=30, captions=5, seed=0):
        generator = np.random.default_rng(seed)
        scores = generator.normal(size=(images * captions, images)) + generator.normal(size=images)
        scores[np.arange(images * captions), np.repeat(np.arange(images), captions)] += 2
        np.save(tmp_path / name, scores.astype(np.float32))
        return tmp_path / name

    return save


def test_evaluate_prints_the_schema(matrix, tmp_path):
    (tmp_path / "captions.txt").write_text("".join(f"image {i // 10}\n" for i in range(150)), encoding="utf-8")
    plain = run("evaluate", "--scores", matrix(), "--captions-per-image", 5)
    assert plain.exit_code == 0 and json.loads(plain.stdout).keys() == {"plain"}
    full = run("evaluate", "--scores", matrix(), "--captions-per-image", 5, "--captions", tmp_path / "captions.txt")
    values = json.loads(full.stdout)
    assert set(values) == {"plain", "plain_lenient", "ceiling", "ceiling_tied"}
    assert set(values["plain"]) == SCORE_KEYS and values["plain"] == json.loads(plain.stdout)["plain"]
    assert values["plain_lenient"]["mR"] > values["plain"]["mR"] and values["ceiling"]["t2i_R@1"] == 50


def test_rerank_prints_before_and_after(matrix):
    result = run("rerank", "--val", matrix("val.npy"), "--test", matrix("test.npy", seed=1), "--captions-per-image", 5)
    values = json.loads(result.stdout)
    assert set(values) == {"val", "test", "chosen", "transductive"}
    assert set(values["test"]) == {"plain", "sar"} and set(values["test"]["sar"]) == SCORE_KEYS
    assert set(values["chosen"]) == {"image_to_text", "text_to_image"}
    assert values["test"]["sar"]["mR"] > values["test"]["plain"]["mR"]


def test_rerank_with_a_bank_is_not_transductive(matrix, tmp_path):
    np.save(tmp_path / "texts.npy", np.random.default_rng(2).normal(size=(40, 30)))
    np.save(tmp_path / "images.npy", np.random.default_rng(2).normal(size=(150, 20)))
    both = ["--val", matrix("val.npy"), "--test", matrix("test.npy", seed=1), "--method", "querybank"]
    files = [("--bank-val-texts", "texts.npy"), ("--bank-val-images", "images.npy"), ("--bank-test-texts", "texts.npy")]
    options = [item for option, name in files for item in (option, tmp_path / name)]
    assert "needs all four" in run("rerank", *both, *options).stderr
    result = run("rerank", *both, *options, "--bank-test-images", tmp_path / "images.npy")
    assert json.loads(result.stdout)["transductive"] is False
    assert "bank of training queries is missing" in run("rerank", *both).stderr


def test_rerank_takes_hyper_parameters_of_a_fixed_method(matrix):
    both = ["rerank", "--val", matrix("val.npy"), "--test", matrix("test.npy", seed=1)]
    chosen = json.loads(run(*both, "--method", "soft", "--set", "beta=3", "--set", "strength=.inf").stdout)["chosen"]
    for choice in chosen.values():
        assert (choice["method"], choice["beta"], choice["strength"]) == ("soft", 3, "inf")
    for method, setting, says in (
        ("sort", "beta=3", "--method sort takes candidates=..."),
        ("sort", "candidates", "takes candidates=..."),
        ("sort", "candidates=0", "sar.candidates: Input should be greater than or equal to 1 (given: 0)"),
        ("soft", "beta=.inf", "finite number"),
        ("auto", "beta=3", "takes nothing"),
        ("soft", "beta=[1", "'[1' is no value"),
    ):
        wrong = run(*both, "--method", method, "--set", setting)
        assert wrong.exit_code == 2 and says in wrong.stderr, wrong.stderr


def test_rerank_says_which_file_cannot_be_ranked(matrix, tmp_path):
    infinite = np.load(matrix("infinite.npy", seed=1))
    infinite[4, 2] = np.inf
    np.save(tmp_path / "infinite.npy", infinite)
    wrong = run("rerank", "--val", matrix("val.npy"), "--test", tmp_path / "infinite.npy")
    assert "infinite.npy: scores: row 4 (text), column 2 (image) is inf" in wrong.stderr
    for side, shape in (("texts", (40, 30)), ("images", (150, 20))):
        np.save(tmp_path / f"{side}.npy", np.full(shape, np.nan if side == "images" else 0.0))
    options = [
        item for split in ("val", "test") for side in ("texts", "images")
        for item in (f"--bank-{split}-{side}", tmp_path / f"{side}.npy")
    ]  # fmt: skip
    both = "rerank", "--val", matrix("val.npy"), "--test", matrix("test.npy", seed=1)
    wrong = run(*both, *options)
    assert wrong.exit_code == 2 and "images.npy: scores: row 0" in wrong.stderr
    np.save(tmp_path / "images.npy", np.zeros((40, 30)))
    assert "images.npy: has shape (40, 30), expected 150 texts" in run(*both, *options).stderr


def test_rerank_tells_what_makes_its_numbers_meaningless(matrix, tmp_path):
    same = run("rerank", "--val", matrix("val.npy"), "--test", matrix("test.npy"))
    assert same.exit_code == 2 and "test.npy: the same matrix as" in same.stderr
    np.save(tmp_path / "scaled.npy", 1000 * np.load(matrix("test.npy", seed=1)))
    scaled = run("rerank", "--val", matrix("val.npy"), "--test", tmp_path / "scaled.npy", "--method", "sort")
    assert scaled.exit_code == 0 and "standard deviation" in scaled.stderr and json.loads(scaled.stdout)["test"]


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)


with_nan = np.zeros((10, 2))
with_nan[3, 1] = np.nan


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.zeros((2, 10)), "looks transposed"),
        (np.zeros((8, 2)), "expected 2 x 5 = 10 rows"),
        (np.zeros((8, 2)), "--captions-per-image 4 would fit"),
        (np.zeros(10), "two dimensions"),
        (np.zeros((0, 0)), "two dimensions"),
        (with_nan, "row 3 (text), column 1 (image) is nan"),
        (np.full((10, 2), "high"), "not real numbers"),
        (np.full((10, 2), None), "pickled objects are refused"),
        (b"0.1,0.2\n", "not a plain .npy file"),
        (b"", "not a plain .npy file"),
        (b"\x93NUMPY\x01\x00", "not a plain .npy file"),
        (None, "no such file"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "rerank"])
def test_wrong_matrices_are_explained(command, content, says, tmp_path):
    path = tmp_path / "wrong.npy"
    if content is not None:
        write(path, content)
    options = ["--scores", path] if command == "evaluate" else ["--val", path, "--test", path]
    result = run(command, *options, "--captions-per-image", 5)
    assert result.exit_code == 2 and result.stdout == ""
    assert says in result.stderr and "wrong.npy" in result.stderr and len(result.stderr.splitlines()) == 1


def test_archives_and_wrong_captions_are_explained(matrix, tmp_path):
    np.savez(tmp_path / "many.npz", scores=np.zeros((10, 2)))
    assert "an archive of arrays" in run("evaluate", "--scores", tmp_path / "many.npz").stderr
    (tmp_path / "captions.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert (
        "2 lines for 150 rows" in run("evaluate", "--scores", matrix(), "--captions", tmp_path / "captions.txt").stderr
    )
    captions = "".join(f"caption {row}\n" for row in range(150))
    (tmp_path / "blank.txt").write_text(captions.replace("caption 3\n", "\n"), encoding="utf-8")
    assert "line 4 is blank" in run("evaluate", "--scores", matrix(), "--captions", tmp_path / "blank.txt").stderr
    for encoding in ("utf-8", "utf-8-sig"):  # a byte order mark is no part of the first caption
        (tmp_path / "captions.txt").write_text(captions.replace("caption 9\n", "caption 0\n"), encoding=encoding)
        shown = run("evaluate", "--scores", matrix(), "--captions", tmp_path / "captions.txt")
        assert json.loads(shown.stdout)["ceiling"]["t2i_R@1"] < 100
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "not UTF-8" in run("evaluate", "--scores", matrix(), "--captions", tmp_path / "latin.txt").stderr
    assert "no such file" in run("evaluate", "--scores", matrix(), "--captions", tmp_path / "none.txt").stderr


@pytest.mark.parametrize("code", [0, 1])
def test_doctor_hands_on_its_verdict(code, monkeypatch):
    monkeypatch.setattr("iebaker.doctor.report", lambda stream, more: stream.write("torch: fine\n") and code)
    result = run("doctor")
    assert result.exit_code == code and result.stdout == "torch: fine\n"


def test_starts_without_torch():
    code = "import sys, iebaker.cli; sys.exit(bool({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
