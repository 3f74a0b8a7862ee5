"""Read a benchmark's annotations and images into a manifest and one array of pixels: `prepare.py BENCHMARK`."""

from common import load_params, run

from iebaker.config.params import BenchmarkParams, parse
from iebaker.datasets import prepare
from iebaker.layout import PREPARED, RAW


def main(benchmark: str) -> None:
    data = parse(BenchmarkParams, load_params()["benchmark"][benchmark], f"benchmark.{benchmark}")
    summary = prepare.prepare(RAW / benchmark, data, PREPARED / benchmark)
    print(f"{benchmark}: images {summary['images']}, captions {summary['captions']}, excluded {summary['excluded']}")


if __name__ == "__main__":
    run(main)
