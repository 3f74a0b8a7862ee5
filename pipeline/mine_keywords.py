"""Mine a benchmark's key concepts from its training captions: `mine_keywords.py BENCHMARK`."""

import sys

import pandas as pd
from common import KEYWORDS, PREPARED, errors_for_people, load_params

from iebaker.keywords import mining
from iebaker.params import KeywordsParams, parse
from iebaker.report import plots


def main(benchmark: str) -> None:
    params = parse(KeywordsParams, load_params()["keywords"], "keywords")
    manifest = pd.read_parquet(PREPARED / benchmark / "manifest.parquet")
    captions = manifest[manifest["split"] == "train"].groupby("image_id")["caption"].agg(list)
    mined = mining.mine(captions, params.size, params.min_count)
    out = KEYWORDS / benchmark
    out.mkdir(parents=True, exist_ok=True)
    (out / "keywords.txt").write_text("\n".join(mined["keyword"]) + "\n")
    mined.to_csv(out / "counts.csv", index=False)
    plots.keyword_counts(mined, benchmark, out / "keywords.svg")


if __name__ == "__main__":
    with errors_for_people():
        main(*sys.argv[1:])
