"""Report duplicates, leakage and caption ceilings over all benchmarks: `audit.py`."""

import json
from pathlib import Path

from common import PREPARED, errors_for_people, load_params

from iebaker.datasets import audit, manifest

OUT = Path("reports/audit.json")


def main() -> None:
    params = load_params()
    manifests = {name: manifest.read(PREPARED / name / manifest.FILE) for name in params["benchmarks"]}
    members = {corpus: params["members"][corpus] for corpus in params["corpora"]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(audit.audit(manifests, members), indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    with errors_for_people():
        main()
