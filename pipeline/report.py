"""Write the report, one self-contained HTML file: `report.py`."""

from pathlib import Path

from common import (
    EVALUATION,
    KEYWORDS,
    LOGS,
    METRICS,
    MODELS,
    PREPARED,
    SIMILARITY,
    errors_for_people,
    load_params,
)

from iebaker.report import html
from iebaker.report.gather import Folders

OUT = Path("reports/index.html")


def main() -> None:
    folders = Folders(
        prepared=PREPARED,
        keywords=KEYWORDS,
        models=MODELS,
        matrices=SIMILARITY,
        evaluation=EVALUATION,
        metrics=METRICS,
        ablation=Path("reports/ablation"),
        studies=Path("reports/studies"),
        logs=LOGS,
        audit=Path("reports/audit.json"),
    )
    page = html.build(load_params(), Path("params.yaml").read_text(), folders)
    OUT.write_text(page, encoding="utf-8")
    print(f"{OUT}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    with errors_for_people():
        main()
