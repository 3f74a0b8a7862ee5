"""A model that leaves the project: a folder that any tool on open_clip reads, with a model card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from iebaker.atomic import replacing
from iebaker.errors import IebakerError
from iebaker.metrics.recall import RANKS
from iebaker.model import factory, packaged

CARD_FILE = "README.md"
# the hub's name of the packaged text tower: other tools read its configuration, 600 bytes, from there
HUB_TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def export_model(
    folder: Path, out: Path, metrics: Mapping[str, Any] | None = None, licence: str = "other", data: str = ""
) -> None:
    """Write a trained model's folder anew, as open_clip's local-dir: and hf-hub: read it, with a model card.

    `out` gets the weights under the name that the hub's clients look for, open_clip_config.json, the tokenizer's files
    where it is no CLIP tokenizer, model.json (so that `iebaker.load` reads it too), and README.md.

    Args:
        folder: as a training left it.
        out: to create; must not exist.
        metrics: of reports/metrics, by benchmark; None where the model was not evaluated.
        licence: of the weights, as the hub spells it; the data's and the first weights' licences bound it.
        data: what the card says of the training data; "" names the benchmarks of `metrics`.

    Raises:
        IebakerError: if `folder` is no complete model, or `out` exists.
    """
    if out.exists():
        raise IebakerError(f"{out} exists; name a new folder, or remove it")
    model = factory.load(folder)
    with replacing(out) as partial:
        factory.save(model, partial, factory.describe(folder))
        (partial / factory.WEIGHTS_FILE).rename(partial / factory.HUB_WEIGHTS_FILE)
        _name_text_tower(partial / factory.CONFIG_FILE)
        card = model_card(out.name, factory.describe(folder), metrics or {}, licence, data)
        (partial / CARD_FILE).write_text(card, encoding="utf-8")


def model_card(name: str, description: Mapping[str, Any], metrics: Mapping[str, Any], licence: str, data: str) -> str:
    """The card in the hub's format: what the model is, was trained on, reaches, and how it is used."""
    environment = Environment(
        loader=PackageLoader("iebaker.model"), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
        keep_trailing_newline=True, autoescape=False,  # noqa: S701 - Markdown
    )  # fmt: skip
    measured = [
        (benchmark, split, values)
        for benchmark, splits in metrics.items()
        for split, values in splits.items()
        if "plain" in values
    ]
    tested = ", ".join(dict.fromkeys(benchmark for benchmark, _, _ in measured))
    return environment.get_template("card.md.j2").render(
        name=name,
        description=description,
        rows=[_row(*of) for of in measured],
        licence=licence,
        data=data or tested or "not stated",
    )


def _row(benchmark: str, split: str, values: Mapping[str, Any]) -> str:
    plain, reranked = values["plain"], values.get("sar")
    cells = [benchmark, split, f"{plain['mR']:.2f} [{plain['mR_low']:.2f}, {plain['mR_high']:.2f}]"]
    cells += [" / ".join(f"{plain[f'{way}_R@{rank}']:.2f}" for rank in RANKS) for way in ("i2t", "t2i")]
    mark = " (transductive)" if reranked and reranked["transductive"] else ""
    cells.append(f"{reranked['mR']:.2f}{mark}" if reranked else "")
    return " | ".join(cells)


def _name_text_tower(config_file: Path) -> None:
    """Give the packaged text tower its name on the hub, since only this package knows the symbolic one."""
    content = json.loads(config_file.read_text(encoding="utf-8"))
    text = content["model_cfg"]["text_cfg"]
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if text.get(key) == packaged.TEXT_MODEL:
            text[key] = HUB_TEXT_MODEL
    config_file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
