"""Write a trained model's similarity matrices for validation and test: `export_similarity.py CORPUS VARIANT SEED`."""

import yaml
from common import CONFIG, CORPORA, MODELS, PREPARED, SIMILARITY, load_params, run

from iebaker import export
from iebaker.datasets.files import replacing
from iebaker.datasets.loading import open_corpus, split_of
from iebaker.encoding import Encoder, pick_device
from iebaker.matrices import SPLITS
from iebaker.model import factory
from iebaker.params import SarParams, TrainingConfig, parse


def main(corpus: str, variant: str, seed: str) -> None:
    place = f"{corpus}/{variant}/{seed}"
    config = parse(TrainingConfig, yaml.safe_load((CONFIG / corpus / f"{variant}.yaml").read_text()), place)
    bank_size = parse(SarParams, load_params()["sar"], "sar").bank_size
    device = pick_device(config.train.device, config.train.threads)
    members = open_corpus(CORPORA / corpus, PREPARED)
    model = factory.load(MODELS / place).to(device)
    needed = config.similarity
    encoder = Encoder(model, members, device, trim=needed.mask_padding, tokens=needed.local_loss > 0)
    with replacing(SIMILARITY / place) as out:
        for index, member in enumerate(members):
            bank = export.encode_bank(encoder, index, bank_size)
            for split in SPLITS:
                if split_of(member, split).captions:
                    export.export_split(encoder, index, split, config.similarity, bank, out / member.name / split)


if __name__ == "__main__":
    run(main)
