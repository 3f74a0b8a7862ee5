"""Mine a benchmark's key concepts from its training captions: `mine_keywords.py BENCHMARK`."""

from pathlib import Path

from common import load_params, run
from pandas import read_parquet

from iebaker.atomic import replacing
from iebaker.config.params import KeywordsParams, parse
from iebaker.corpus import manifest
from iebaker.datasets import keywords
from iebaker.layout import KEYWORDS, PREPARED


def main(benchmark: str) -> None:
    params = parse(KeywordsParams, load_params()["keywords"], "keywords")
    table = read_parquet(PREPARED / benchmark / manifest.FILE)
    captions = table[table["split"] == "train"].groupby("image_id")["caption"].agg(list)
    if params.file:
        found = keywords.read_list(Path(params.file), captions)
    else:
        found = keywords.mine(captions, params.size, params.min_count)
    with replacing(KEYWORDS / benchmark) as out:
        keywords.write(found, out)


if __name__ == "__main__":
    run(main)
