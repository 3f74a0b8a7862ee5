import pytest
import yaml
from conftest import PARAMS, resolved

from iebaker.config.params import BenchmarkParams, KeywordsParams, SarParams, Section, SyntheticParams, parse
from iebaker.errors import IebakerError


@pytest.mark.parametrize("text", ["1e-5", "3e-05", "1.0e-5", "0.00001"])
def test_numbers_as_yaml_and_the_command_line_write_them(text):
    """PyYAML reads `1e-5` as a string."""
    training, _ = resolved(train=yaml.safe_load(f"lr: {text}"))
    assert training.train.lr == pytest.approx(float(text), rel=1e-12)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("eba", {"drop_ration": 0.2}, r"eba.drop_ration: no such key; did you mean drop_ratio"),
        ("eba", {"scheme": "off"}, r"eba.scheme: .*'none', 'coupled' or 'decoupled'.*'off'"),
        ("eba", {"scheme": False}, "eba.scheme"),
        ("eba", {"drop_ratio": 1.0}, r"eba.drop_ratio: .*less than 1.*1.0"),
        ("train", {"epochs": -1}, r"train.epochs: .*greater than or equal to 0.*-1"),
        ("ker", {"alignment": "word"}, "ker.alignment"),
        ("fusion", {"local_wieght": 1}, "synthetic/full.fusion.local_wieght: no such key; did you mean local_weight"),
    ],
)
def test_impossible_values_are_refused_by_name(section, values, message):
    with pytest.raises(IebakerError, match=message):
        resolved(**{section: values})


def test_every_declared_section_is_valid():
    for benchmark, values in PARAMS["benchmark"].items():
        parse(BenchmarkParams, values, benchmark)
    for model, section in ((SyntheticParams, "synthetic"), (SarParams, "sar"), (KeywordsParams, "keywords")):
        parse(model, PARAMS[section], section)


def test_no_section_holds_a_number_that_nobody_set():
    """Only a benchmark's sources and layout have defaults."""
    for model in Section.__subclasses__():
        if model.__module__ == SyntheticParams.__module__:
            assert all(field.is_required() for field in model.model_fields.values()), model
