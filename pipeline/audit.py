"""Report near-duplicates, leakage and caption ceilings of all benchmarks: `audit.py`."""

import json

from common import load_params, run

from iebaker.atomic import write_text
from iebaker.corpus import manifest
from iebaker.datasets import audit
from iebaker.layout import AUDIT, PREPARED


def main() -> None:
    params = load_params()
    manifests = {name: manifest.read(PREPARED / name / manifest.FILE) for name in params["benchmarks"]}
    members = {corpus: params["corpus"][corpus]["benchmarks"] for corpus in params["corpora"]}
    write_text(AUDIT, json.dumps(audit.audit(manifests, members), indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
