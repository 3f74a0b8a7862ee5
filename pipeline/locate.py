"""Look at what a benchmark's sources are now, so that a changed file acquires again: `locate.py BENCHMARK`."""

import json

from common import load_params, run

from iebaker.atomic import write_text
from iebaker.config.params import BenchmarkParams, SyntheticParams, parse
from iebaker.datasets.acquire.locate import locate
from iebaker.layout import DOWNLOADS, RAW, SOURCES, source_root


def main(benchmark: str) -> None:
    params = load_params()
    data = parse(BenchmarkParams, params["benchmark"][benchmark], f"benchmark.{benchmark}")
    synthetic = parse(SyntheticParams, params["synthetic"], "synthetic")
    found = locate(benchmark, data, synthetic, RAW, DOWNLOADS, source_root())
    write_text(SOURCES / f"{benchmark}.json", json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
