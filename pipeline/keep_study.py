"""Keep the results of one corpus beside those of the next run: `keep_study.py NAME CORPUS`, not a stage.

Figures, metrics and params.yaml go to reports/studies/NAME, which the report shows and git keeps:

    dvc exp run -S 'seeds=[0,1,2]' -S train.epochs=20
    python pipeline/keep_study.py three_seeds synthetic
"""

import shutil
from pathlib import Path

from common import METRICS, check_name, load_params, run

from iebaker.datasets.files import replacing

STUDIES = Path("reports/studies")
TABLES = ("ablation", "elimination")


def main(name: str, corpus: str) -> None:
    ablation, study = Path("reports/ablation") / corpus, STUDIES / check_name(name)
    files = [ablation / f"{figure}{suffix}" for figure in TABLES for suffix in (".csv", ".svg")]
    files += [METRICS / corpus / f"{variant}.json" for variant in load_params()["variants"]]
    files += [ablation / "reranking.csv", Path("params.yaml")]
    if missing := [str(file) for file in files if not file.exists()]:
        raise ValueError(f"{', '.join(missing)}: not there; run `dvc repro` for {corpus} first")
    with replacing(study) as out:
        for file in files:
            shutil.copyfile(file, out / file.name)
    print(f"{study}: {len(files)} files")


if __name__ == "__main__":
    run(main)
