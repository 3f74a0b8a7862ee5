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
    load_params,
    run,
    write_text,
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
    write_text(OUT, page)
    print(f"{OUT}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
