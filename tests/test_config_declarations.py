import pytest
import yaml
from conftest import ROOT

from iebaker.config.declarations import check, resolve
from iebaker.errors import IebakerError

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "seeds: .*at least 1 item"),
        ({"seeds": [0, 0]}, "seeds: .*0 is there twice"),
        ({"seeds": [-1]}, "seeds.0: .*greater than or equal to 0"),
        ({"seeds": [1.5]}, "seeds.0: .*1.5"),
        ({"variants": "full"}, "variants: .*list.*'full'"),
        ({"variants": ["full", "full"]}, "'full' is there twice"),
        ({"variants": ["fool"]}, r"overrides.fool is not defined \(there: clip, "),
        ({"corpora": ["../.."]}, "corpora.0: .*pattern"),
        ({"corpora": ["rsicd"]}, r"\['rsicd'\] of members.rsicd not in benchmarks"),
        ({"benchmarks": ["mine"]}, "data.mine is not defined"),
        ({"members": {"synthetic": []}}, "members.synthetic: .*at least 1"),
        ({"members": None}, "members: .*dictionary"),
        ({"overrides": {"full": "x"}}, "overrides.full: .*dictionary"),
        ({"evaa": {}}, "evaa: Extra inputs"),
    ],
)
def test_selections_are_checked_as_a_whole(changes, message):
    assert check(PARAMS) == PARAMS
    with pytest.raises(IebakerError, match=message):
        check(PARAMS | changes)


def test_settings_cannot_rename_a_training():
    with pytest.raises(IebakerError, match="synthetic/full.corpus: is no section"):
        resolve(PARAMS | {"settings": {"synthetic": {"corpus": "other"}}}, "synthetic", "full")
