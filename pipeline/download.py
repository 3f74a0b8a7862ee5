"""Acquire a benchmark's images and annotations as published: `download.py BENCHMARK`.

What decides whether this has to run is data/sources/BENCHMARK.json; params.yaml only says where a local source lies.
"""

from common import load_params, run

from iebaker.config.params import BenchmarkParams, SyntheticParams, parse
from iebaker.datasets.acquire.catalogue import acquire
from iebaker.layout import DOWNLOADS, RAW, source_root


def main(benchmark: str) -> None:
    params = load_params()
    data = parse(BenchmarkParams, params["benchmark"][benchmark], f"benchmark.{benchmark}")
    synthetic = parse(SyntheticParams, params["synthetic"], "synthetic")
    base = source_root()
    acquire(benchmark, data, synthetic, RAW / benchmark, base / DOWNLOADS, base)


if __name__ == "__main__":
    run(main)
