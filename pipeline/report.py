"""Write the report, one self-contained HTML file: `report.py`."""

from pathlib import Path

from common import load_params, run

from iebaker.atomic import write_text
from iebaker.layout import REPORT, Folders
from iebaker.report import html


def main() -> None:
    page = html.build(load_params(), Path("params.yaml").read_text(), Folders())
    write_text(REPORT, page)
    print(f"{REPORT}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
