"""Turn finished experiments into a table and a figure: `collect_sweep.py NAME PARAMETER [KEY=VALUE ...]`, not a stage.

The experiments may differ from the workspace in PARAMETER, eba.scheme, seeds, and as the KEY=VALUE say, nothing else;
the metrics are those of `full`. Queue them first, for example:

    dvc exp run --queue -S 'variants=[full]' -S eba.scheme=none,coupled,decoupled -S synthetic.weak_rate=0,0.1 rerank
    dvc exp run --run-all
"""

import json
import subprocess
from pathlib import Path

import yaml
from common import check_name, run

from iebaker.report import sweep
from iebaker.report.tables import DIGITS

OUT = Path("reports/studies")


def main(name: str, parameter: str, *settings: str) -> None:
    check_name(name)
    fixed = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        if not given:
            raise ValueError(f"{setting}: write KEY=VALUE, for example train.epochs=10")
        fixed[key] = yaml.safe_load(value)
    shown = subprocess.run(["dvc", "exp", "show", "--json"], check=True, capture_output=True, text=True).stdout
    table = sweep.collect(json.loads(shown), parameter, "full", fixed).round(DIGITS)
    OUT.mkdir(parents=True, exist_ok=True)
    table.to_csv(OUT / f"{name}.csv", index=False)
    sweep.sweep_plot(table, OUT / f"{name}.svg")
    print(f"{OUT / name}.csv: {len(table)} rows")


if __name__ == "__main__":
    run(main)
