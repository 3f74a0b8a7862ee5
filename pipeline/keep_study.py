"""Keep the results of one corpus beside those of the next run: `keep_study.py NAME CORPUS`, not a stage.

Figures, metrics and params.yaml go to reports/studies/NAME, which the report shows and git keeps:

    dvc exp run -S 'seeds=[0,1,2]' -S train.epochs=20
    python pipeline/keep_study.py three_seeds synthetic
"""

import shutil
import sys
from pathlib import Path

from common import METRICS, errors_for_people, load_params

STUDIES = Path("reports/studies")
FIGURES = ("ablation", "elimination")


def main(name: str, corpus: str) -> None:
    ablation, study = Path("reports/ablation") / corpus, STUDIES / name
    files = [ablation / f"{figure}{suffix}" for figure in FIGURES for suffix in (".csv", ".svg")]
    files += [METRICS / corpus / f"{variant}.json" for variant in load_params()["variants"]]
    files += [Path("params.yaml")]
    shutil.rmtree(study, ignore_errors=True)
    study.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, study / file.name)
    print(f"{study}: {len(files)} files")


if __name__ == "__main__":
    with errors_for_people():
        main(*sys.argv[1:])
