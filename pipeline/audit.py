"""Report duplicates, leakage and caption ceilings over all benchmarks: `audit.py`."""

import json
from pathlib import Path

from common import PREPARED, load_params, run

from iebaker.datasets import audit, manifest

OUT = Path("reports/audit.json")


def main() -> None:
    params = load_params()
    manifests = {name: manifest.read(PREPARED / name / manifest.FILE) for name in params["benchmarks"]}
    members = {corpus: params["members"][corpus] for corpus in params["corpora"]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(audit.audit(manifests, members), indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
