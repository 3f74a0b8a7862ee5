"""Fuse, re-rank and evaluate all seeds of a variant: `rerank.py CORPUS VARIANT`."""

import json

import numpy as np
from common import EVALUATION, METRICS, MODELS, SIMILARITY, load_params, run

from iebaker.datasets.files import replacing
from iebaker.declarations import similarity_of
from iebaker.evaluation import ELIMINATION, elimination_summary, evaluate_variant
from iebaker.params import SarParams, parse


def main(corpus: str, variant: str) -> None:
    params = load_params()
    similarity, sar = similarity_of(params, corpus, variant), parse(SarParams, params["sar"], "sar")
    seeds = {seed: SIMILARITY / corpus / variant / str(seed) for seed in params["seeds"]}
    histories, trainings = (
        [json.loads((MODELS / corpus / variant / str(seed) / name).read_text()) for seed in params["seeds"]]
        for name in ("history.json", "training.json")
    )
    metrics = {}
    with replacing(EVALUATION / corpus / variant) as out:
        for benchmark in sorted(folder.name for folder in next(iter(seeds.values())).iterdir()):
            evaluation = evaluate_variant({s: folder / benchmark for s, folder in seeds.items()}, similarity, sar)
            metrics[benchmark] = evaluation.metrics
            arrays = {f"{split}/image_of_text": ids for split, ids in evaluation.image_of_text.items()}
            for split, names in evaluation.hits.items():
                for name, per_seed in names.items():
                    for side in ("image_to_text", "text_to_image"):
                        arrays[f"{split}/{name}/{side}"] = np.stack([getattr(hits, side) for hits in per_seed])
            np.savez(out / f"{benchmark}.npz", **arrays)
            (out / f"{benchmark}.sar.json").write_text(json.dumps(evaluation.choices, indent=1) + "\n")
    if elimination := elimination_summary(histories, trainings):
        metrics[ELIMINATION] = elimination
    path = METRICS / corpus / f"{variant}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(main)
