"""Write the report, one self-contained HTML file: `report.py`."""

from pathlib import Path

from common import load_params, run

from iebaker.atomic import write_text
from iebaker.layout import MACHINE, REPORT, Folders
from iebaker.report import gather, html


def main() -> None:
    params, folders = load_params(), Folders()
    page = html.build(params, Path("params.yaml").read_text(encoding="utf-8"), folders)
    write_text(REPORT, page)
    write_text(MACHINE, gather.machine(params, folders.logs))
    print(f"{REPORT}: {len(page.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
