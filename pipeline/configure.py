"""Resolve the parameters of one variant into training.yaml and evaluation.yaml: `configure.py CORPUS VARIANT`."""

from common import load_params, run

from iebaker.config.declarations import notes, resolve
from iebaker.config.files import write_configuration
from iebaker.layout import CONFIG


def main(corpus: str, variant: str) -> None:
    params = load_params()
    training, evaluation = resolve(params, corpus, variant)
    for note in notes(params, training):
        print(f"{corpus}/{variant}: {note}")
    write_configuration(CONFIG / corpus / variant, training, evaluation)


if __name__ == "__main__":
    run(main)
