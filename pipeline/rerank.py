"""Fuse, re-rank and evaluate all seeds of a variant: `rerank.py CORPUS VARIANT`."""

import json

from common import load_params, run

from iebaker.atomic import replacing, write_text
from iebaker.config.files import read_evaluation
from iebaker.layout import CONFIG, EVALUATION, METRICS, MODELS, SIMILARITY
from iebaker.metrics.elimination import ELIMINATION, elimination_summary
from iebaker.retrieval.evaluation import evaluate_variant


def main(corpus: str, variant: str) -> None:
    config = read_evaluation(CONFIG / corpus / variant)
    seeds = load_params()["seeds"]
    matrices = {seed: SIMILARITY / corpus / variant / str(seed) for seed in seeds}
    metrics = {}
    with replacing(EVALUATION / corpus / variant) as out:
        for benchmark in sorted(folder.name for folder in matrices[seeds[0]].iterdir()):
            evaluation = evaluate_variant({seed: folder / benchmark for seed, folder in matrices.items()}, config)
            evaluation.write(out, benchmark)
            metrics[benchmark] = evaluation.metrics
    histories, trainings = (
        [json.loads((MODELS / corpus / variant / str(seed) / name).read_text()) for seed in seeds]
        for name in ("history.json", "training.json")
    )
    if elimination := elimination_summary(histories, trainings):
        metrics[ELIMINATION] = elimination
    write_text(METRICS / corpus / f"{variant}.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
