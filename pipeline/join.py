"""Write a corpus's view of one benchmark, or an empty folder for a non-member: `join.py CORPUS BENCHMARK`."""

from common import load_params, run

from iebaker.atomic import replacing
from iebaker.corpus.loading import write_view
from iebaker.layout import CORPORA, KEYWORDS, PREPARED


def main(corpus: str, benchmark: str) -> None:
    with replacing(CORPORA / corpus / benchmark) as out:
        if benchmark in load_params()["corpus"][corpus]["benchmarks"]:
            write_view(PREPARED / benchmark, KEYWORDS / benchmark, out)


if __name__ == "__main__":
    run(main)
