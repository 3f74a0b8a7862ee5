"""Tables and figures of one corpus's ablation: `plot_ablation.py CORPUS`."""

from pathlib import Path

from common import EVALUATION, METRICS, MODELS, SIMILARITY, load_params, run

from iebaker.report.figures import FIGURES
from iebaker.report.results import open_results
from iebaker.report.tables import DIGITS, TABLES

OUT = Path("reports/ablation")


def main(corpus: str) -> None:
    results = open_results(load_params(), corpus, MODELS, SIMILARITY, EVALUATION, METRICS)
    (OUT / corpus).mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        table = make(results).round(DIGITS)
        table.to_csv(OUT / corpus / f"{name}.csv", index=False)
        if name in FIGURES:
            FIGURES[name](table, OUT / corpus / f"{name}.svg")


if __name__ == "__main__":
    run(main)
