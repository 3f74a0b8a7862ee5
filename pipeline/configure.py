"""Resolve the parameters of one training into one file: `configure.py CORPUS VARIANT`."""

import sys

import yaml
from common import CONFIG, load_params, run, write_text

from iebaker.declarations import resolve
from iebaker.params import canonical


def main(corpus: str, variant: str) -> None:
    config = resolve(load_params(), corpus, variant)
    if config.eba.scheme == "decoupled" and not config.similarity.local_loss:
        print("warning: without a local loss, eba.scheme=decoupled does what coupled does", file=sys.stderr)
    if config.eba.scheme != "none" and config.eba.start_epoch >= config.train.epochs:
        print(
            f"warning: eba.start_epoch={config.eba.start_epoch} is not below train.epochs={config.train.epochs}: "
            "nothing will be eliminated",
            file=sys.stderr,
        )
    write_text(CONFIG / corpus / f"{variant}.yaml", yaml.safe_dump(canonical(config), sort_keys=True))


if __name__ == "__main__":
    run(main)
