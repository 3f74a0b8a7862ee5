"""Acquire a benchmark's images and annotations as published: `download.py BENCHMARK`."""

import sys

from common import DOWNLOADS, RAW, errors_for_people, load_params

from iebaker.datasets import sources
from iebaker.params import DataParams, SyntheticParams, parse


def main(benchmark: str) -> None:
    params = load_params()
    data = parse(DataParams, params["data"].get(benchmark), f"data.{benchmark}")
    synthetic = parse(SyntheticParams, params["synthetic"], "synthetic")
    sources.acquire(benchmark, data, synthetic, RAW / benchmark, DOWNLOADS)


if __name__ == "__main__":
    with errors_for_people():
        main(*sys.argv[1:])
