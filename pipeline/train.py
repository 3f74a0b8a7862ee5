"""Train one variant with one seed: `train.py CORPUS VARIANT SEED`."""

import json

import yaml
from common import CONFIG, CORPORA, FEATURES, LOGS, MODELS, PREPARED, RESUME, run

from iebaker import training
from iebaker.datasets.loading import open_corpus
from iebaker.params import TrainingConfig, parse


def main(corpus: str, variant: str, seed: str) -> None:
    path = CONFIG / corpus / f"{variant}.yaml"
    config = parse(TrainingConfig, yaml.safe_load(path.read_text()), str(path))
    members = open_corpus(CORPORA / corpus, PREPARED)
    place = f"{corpus}/{variant}/{seed}"
    machine = training.fit(config, members, int(seed), MODELS / place, RESUME / place, FEATURES)
    log = LOGS / f"{place}.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(json.dumps(machine, indent=2) + "\n")
    print(f"{place}: {machine}")


if __name__ == "__main__":
    run(main)
