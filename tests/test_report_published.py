import pytest

from iebaker.report import published

RESULT = {
    "protocol": "strict",
    "split": "test",
    "metrics": {"plain": {"mR": 16.0, "mR_low": 15.0, "mR_high": 17.0}},
}


def test_protocols_are_kept_apart():
    strict, skyscript = (published.published("ucm", protocol) for protocol in ("strict", "skyscript"))
    assert strict and skyscript and {row["protocol"] for row in strict} == {"strict"}
    values = {row["protocol"]: row["mR"] for row in strict + skyscript
              if (row["method"], row["backbone"]) == ("CLIP zero-shot", "ViT-L-14")}  # fmt: skip
    assert values == {"strict": 40.46, "skyscript": 62.58}
    assert published.published("rsicd") == published.published("rsicd", "strict")
    assert sum(len(published.published(name, protocol)) for name in ("rsicd", "rsitmd", "nwpu", "ucm")
               for protocol in ("strict", "skyscript")) == 63  # fmt: skip


def test_difference_and_interval():
    rows = {row["mR"]: row for row in published.beside(RESULT, "rsicd")["published"]}
    assert (rows[15.74]["difference"], rows[15.74]["within_interval"]) == (0.26, True)
    assert (rows[45.07]["difference"], rows[45.07]["within_interval"]) == (-29.07, False)
    assert published.beside(RESULT | {"split": "val"}, "rsicd")["published"] == []
    assert published.beside(RESULT, "")["published"] == []


@pytest.mark.parametrize(
    ("name", "benchmark"),
    [("rsicd", "rsicd"), ("RSITMD.zip", "rsitmd"), ("UCM_captions", "ucm"), ("NWPU-Captions", "nwpu"), ("mine", "")],
)
def test_benchmark_is_guessed_from_the_name(name, benchmark):
    assert published.benchmark_of(name) == benchmark
