"""Read a benchmark's annotations and images into a manifest and one array of pixels: `prepare.py BENCHMARK`."""

from common import PREPARED, RAW, load_params, run

from iebaker.datasets import prepare
from iebaker.params import DataParams, parse


def main(benchmark: str) -> None:
    data = parse(DataParams, load_params()["data"].get(benchmark), f"data.{benchmark}")
    summary = prepare.prepare(RAW / benchmark, data, PREPARED / benchmark)
    print(f"{benchmark}: images {summary['images']}, captions {summary['captions']}, excluded {summary['excluded']}")


if __name__ == "__main__":
    run(main)
