"""Train one variant with one seed: `train.py CORPUS VARIANT SEED`."""

import json

from common import run

from iebaker.atomic import write_text
from iebaker.config.files import read_training
from iebaker.corpus.loading import open_corpus
from iebaker.errors import IebakerError
from iebaker.layout import CONFIG, CORPORA, FEATURES, LOGS, MODELS, PREPARED, RESUME
from iebaker.training import distributed
from iebaker.training.fit import fit


def main(corpus: str, variant: str, seed: str) -> None:
    config = read_training(CONFIG / corpus / variant)
    processes = config.train.processes if config.train.epochs else 1
    distributed.start(processes, __file__, [corpus, variant, seed])
    members = open_corpus(CORPORA / corpus, PREPARED)
    place = f"{corpus}/{variant}/{seed}"
    with distributed.together(processes, config.train.device):
        machine = fit(config, members, int(seed), MODELS / place, RESUME / place, FEATURES)
    if not machine:  # the first process alone has it
        return
    try:
        write_text(LOGS / f"{place}.json", json.dumps(machine, indent=2) + "\n")
    except (IebakerError, OSError) as error:  # times shape no result
        print(f"{place}: the log is not written: {error}")
    print(f"{place}: {machine}")


if __name__ == "__main__":
    run(main)
