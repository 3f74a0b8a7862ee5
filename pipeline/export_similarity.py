"""Write a trained model's similarity matrices for validation and test: `export_similarity.py CORPUS VARIANT SEED`."""

import shutil

from common import load_params, run
from torch import set_num_threads

from iebaker.atomic import replacing
from iebaker.config.files import read_training
from iebaker.config.params import SarParams, parse
from iebaker.corpus.loading import open_corpus
from iebaker.layout import CONFIG, CORPORA, MODELS, PREPARED, RESUME, SIMILARITY
from iebaker.model import factory
from iebaker.model.encoding import pick_device
from iebaker.retrieval.export import export


def main(corpus: str, variant: str, seed: str) -> None:
    place = f"{corpus}/{variant}/{seed}"
    config = read_training(CONFIG / corpus / variant)
    bank_size = parse(SarParams, load_params()["sar"], "sar").bank_size
    set_num_threads(config.train.threads)
    model = factory.load(MODELS / place).to(pick_device(config.train.device))
    with replacing(SIMILARITY / place) as out:
        export(model, open_corpus(CORPORA / corpus, PREPARED), config.local, bank_size, out)
    # the training lies in DVC's cache, or this stage would not run: nothing has to go on from its checkpoint
    shutil.rmtree(RESUME / place, ignore_errors=True)


if __name__ == "__main__":
    run(main)
