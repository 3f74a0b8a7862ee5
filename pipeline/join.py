"""Write a corpus's view of one benchmark, or an empty folder for a non-member: `join.py CORPUS BENCHMARK`."""

import json
import shutil

from common import CORPORA, KEYWORDS, PREPARED, load_params, run

from iebaker.datasets.files import replacing
from iebaker.datasets.loading import KEYWORDS_FILE, MANIFEST_FILE, VIEW_FILE


def main(corpus: str, benchmark: str) -> None:
    with replacing(CORPORA / corpus / benchmark) as out:
        if benchmark not in load_params()["members"][corpus]:
            return
        shutil.copyfile(PREPARED / benchmark / MANIFEST_FILE, out / MANIFEST_FILE)
        shutil.copyfile(KEYWORDS / benchmark / KEYWORDS_FILE, out / KEYWORDS_FILE)
        # pixels stay where they are; their checksum makes the view change when they do
        summary = json.loads((PREPARED / benchmark / "summary.json").read_text())
        view = {"benchmark": benchmark, "pixels_sha256": summary["pixels_sha256"]}
        (out / VIEW_FILE).write_text(json.dumps(view, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
