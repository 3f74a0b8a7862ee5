"""Mine a benchmark's key concepts from its training captions: `mine_keywords.py BENCHMARK`."""

import pandas as pd
from common import KEYWORDS, PREPARED, load_params, run

from iebaker.datasets.files import replacing
from iebaker.keywords import mining
from iebaker.params import KeywordsParams, parse
from iebaker.report import plots


def main(benchmark: str) -> None:
    params = parse(KeywordsParams, load_params()["keywords"], "keywords")
    manifest = pd.read_parquet(PREPARED / benchmark / "manifest.parquet")
    captions = manifest[manifest["split"] == "train"].groupby("image_id")["caption"].agg(list)
    mined = mining.mine(captions, params.size, params.min_count)
    with replacing(KEYWORDS / benchmark) as out:
        (out / "keywords.txt").write_text("".join(f"{word}\n" for word in mined["keyword"]))
        mined.to_csv(out / "counts.csv", index=False)
        plots.keyword_counts(mined, benchmark, out / "keywords.svg")


if __name__ == "__main__":
    run(main)
