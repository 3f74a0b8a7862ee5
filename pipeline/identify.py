"""Look at the user's own files that params.yaml names, so that a changed one counts: `identify.py`."""

import json

from common import load_params, run

from iebaker.atomic import replacing
from iebaker.config.declarations import resolve
from iebaker.config.named_files import of_keywords, of_model
from iebaker.config.params import KeywordsParams, parse
from iebaker.layout import NAMED_FILES


def main() -> None:
    params = load_params()
    found = {"keywords": of_keywords(parse(KeywordsParams, params["keywords"], "keywords"))}
    for corpus in params["corpora"]:
        for variant in params["variants"]:
            found[f"{corpus}/{variant}"] = of_model(resolve(params, corpus, variant)[0].model)
    with replacing(NAMED_FILES) as out:
        for name, digests in found.items():
            file = out / f"{name}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
