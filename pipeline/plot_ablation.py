"""Tables and figures of one corpus's ablation: `plot_ablation.py CORPUS`."""

from common import load_params, run

from iebaker.layout import ABLATION, Folders
from iebaker.report.figures import FIGURES
from iebaker.report.results import open_results
from iebaker.report.tables import DIGITS, TABLES


def main(corpus: str) -> None:
    results = open_results(load_params(), corpus, Folders())
    out = ABLATION / corpus
    out.mkdir(parents=True, exist_ok=True)
    for name, make in TABLES.items():
        table = make(results).round(DIGITS)
        table.to_csv(out / f"{name}.csv", index=False)
        if name in FIGURES:
            FIGURES[name](table, out / f"{name}.svg")


if __name__ == "__main__":
    run(main)
