"""Studies: results that are kept beside those of the next run, in reports/studies."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from iebaker.atomic import replacing
from iebaker.errors import IebakerError
from iebaker.layout import ABLATION, METRICS, PARAMS, STUDIES
from iebaker.project.parameters import check_name
from iebaker.report import sweep
from iebaker.report.tables import DIGITS

FIGURES = ("ablation", "elimination")


def keep(params: Mapping[str, Any], name: str, corpus: str) -> int:
    """Copy figures, metrics and params.yaml of one corpus to reports/studies/<name>; the number of files.

    Raises:
        IebakerError: if one of them is not there.
    """
    folder, study = ABLATION / corpus, STUDIES / check_name(name)
    files = [folder / f"{figure}{suffix}" for figure in FIGURES for suffix in (".csv", ".svg")]
    files += [METRICS / corpus / f"{variant}.json" for variant in params["variants"]]
    files += [folder / "reranking.csv", PARAMS]
    if missing := [str(file) for file in files if not file.exists()]:
        raise IebakerError(f"{', '.join(missing)}: not there; run `dvc repro` for {corpus} first")
    with replacing(study) as out:
        for file in files:
            shutil.copyfile(file, out / file.name)
    return len(files)


def collect_sweep(name: str, parameter: str, settings: Sequence[str], variant: str = "full") -> int:
    """Turn finished experiments into reports/studies/<name>.csv and .svg; the number of rows.

    Args:
        parameter: dotted name in params.yaml; the experiments may differ from the workspace in it, in eba.scheme, in
            seeds, and as `settings` say.
        settings: "key=value".
        variant: whose metrics are collected.

    Raises:
        IebakerError: if no experiment belongs to the sweep.
    """
    check_name(name)
    fixed = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        if not given:
            raise IebakerError(f"{setting}: write KEY=VALUE, for example train.epochs=10")
        fixed[key] = yaml.safe_load(value)
    shown = subprocess.run(["dvc", "exp", "show", "--json"], check=True, capture_output=True, text=True).stdout
    table = sweep.collect(json.loads(shown), parameter, variant, fixed).round(DIGITS)
    STUDIES.mkdir(parents=True, exist_ok=True)
    table.to_csv(STUDIES / f"{name}.csv", index=False)
    sweep.sweep_plot(table, STUDIES / f"{name}.svg")
    return len(table)
