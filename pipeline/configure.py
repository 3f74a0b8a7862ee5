"""Resolve the parameters of one training into one file: `configure.py CORPUS VARIANT`."""

import sys

import yaml
from common import CONFIG, errors_for_people, load_params

from iebaker.params import ParameterError, canonical, resolve


def main(corpus: str, variant: str) -> None:
    params = load_params()
    config = resolve(params, corpus, variant)
    if absent := set(params["members"][corpus]) - set(params["benchmarks"]):
        raise ParameterError(f"params: {sorted(absent)} of members.{corpus} not in benchmarks; add or drop them")
    if config.eba.scheme == "decoupled" and not config.similarity.local_loss:
        print("warning: without a local loss, eba.scheme=decoupled does what coupled does", file=sys.stderr)
    if config.eba.scheme != "none" and config.eba.start_epoch >= config.train.epochs:
        print(
            f"warning: eba.start_epoch={config.eba.start_epoch} is not below train.epochs={config.train.epochs}: "
            "nothing will be eliminated",
            file=sys.stderr,
        )
    out = CONFIG / corpus / f"{variant}.yaml"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(yaml.safe_dump(canonical(config), sort_keys=True))


if __name__ == "__main__":
    with errors_for_people():
        main(*sys.argv[1:])
