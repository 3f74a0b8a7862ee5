"""The attacks of tests/attack: a small fixed sample here; all of them by `pytest -m attack tests/test_attack.py`."""

import pytest
from attack import datasets, downloads, matrices, params
from attack.judge import Case, judge

ALL = {module.__name__.rsplit(".", 1)[-1]: list(module.cases()) for module in (params, datasets, matrices, downloads)}
SAMPLE = 25  # every so many


def _named(cases: dict[str, list[Case]]) -> list:
    return [pytest.param(case, id=f"{name}: {case.name}") for name, listed in cases.items() for case in listed]


@pytest.mark.parametrize("case", _named({name: listed[::SAMPLE] for name, listed in ALL.items()}))
def test_a_sample_of_attacks(case):
    judge(case)


@pytest.mark.attack
@pytest.mark.parametrize("case", _named(ALL))
def test_all_attacks(case):
    judge(case)
