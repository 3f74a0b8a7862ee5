"""Acquire a benchmark's images and annotations as published: `download.py BENCHMARK`."""

from common import DOWNLOADS, RAW, load_params, run

from iebaker.datasets import sources
from iebaker.params import DataParams, SyntheticParams, parse


def main(benchmark: str) -> None:
    params = load_params()
    data = parse(DataParams, params["data"].get(benchmark), f"data.{benchmark}")
    synthetic = parse(SyntheticParams, params["synthetic"], "synthetic")
    sources.acquire(benchmark, data, synthetic, RAW / benchmark, DOWNLOADS)


if __name__ == "__main__":
    run(main)
