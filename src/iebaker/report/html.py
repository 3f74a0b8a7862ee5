"""The report: one HTML file that needs nothing else, neither network nor scripts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from iebaker.config.declarations import resolve
from iebaker.layout import Folders
from iebaker.report import gather
from iebaker.report.examples import OUTCOMES, SPARED, Gallery
from iebaker.report.figures import FIGURES
from iebaker.report.published import published
from iebaker.report.results import CorpusResults, open_results

KINDS = {
    "other": "caption of any other image",
    "injected": "caption exchanged with another image's",
    "sibling": "caption of an image of the same class",
    "vague": "vague caption",
    "untouched": "untouched caption: a false alarm, or an annotator's slip",
    SPARED: "weak, and not dropped",
}


def build(params: Mapping[str, Any], params_text: str, folders: Folders) -> str:
    """The whole page.

    Args:
        params: params.yaml as plain data.
        params_text: the same as the file stands.
        folders: where the stages left their results.
    """
    selected = [
        corpus(open_results(params, name, folders), folders) | definition(params, name) for name in params["corpora"]
    ]
    others = [path.name for path in sorted(folders.metrics.glob("*/")) if path.name not in params["corpora"]]
    context = {
        "selected": selected,
        "kept": [numbers(folders, name) | definition(params, name) for name in others],
        "audit": json.loads(folders.audit.read_text()),
        "benchmarks": [benchmark(folders, name) for name in params["benchmarks"]],
        "studies": studies(folders.studies),
        "overrides": gather.overrides(params),
        "params_text": params_text,
        "versions": gather.versions(),
        "outcomes": OUTCOMES,
        "kinds": KINDS,
        "recalls": gather.RECALLS,
    }
    environment = Environment(
        loader=PackageLoader("iebaker.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"number": number, "signed": signed, "p_value": p_value, "share": share}
    return environment.get_template("report.html.j2").render(context)


def corpus(results: CorpusResults, folders: Folders) -> dict[str, Any]:
    """Everything on a corpus whose trainings are here: numbers, figures, examples, machine."""
    members = []
    for index, name in enumerate(results.benchmarks):
        pixels = np.load(folders.prepared / name / "pixels.npy", mmap_mode="r")
        manifest = pd.read_parquet(folders.prepared / name / "manifest.parquet", columns=["image_id", "scene"])
        scenes = manifest.drop_duplicates("image_id").set_index("image_id")["scene"]
        keywords = (folders.keywords / name / "keywords.txt").read_text().split()
        gallery = Gallery(results, name, pixels, keywords)
        split = list(results.hits(results.whole, name))[-1]
        members.append({
            "name": name,
            "split": split,
            "retrieval": gallery.retrieval(results.whole, split),
            "dropped": dropped(gallery, results, index, scenes),
        })  # fmt: skip
    summary = {"reference": results.reference, "whole": results.whole, "seeds": results.seeds, "members": members}
    return numbers(folders, results.corpus) | summary | {"machine": gather.machine(results, folders.logs)}


def dropped(gallery: Gallery, results: CorpusResults, member: int, scenes: pd.Series) -> dict[str, Any]:
    """Dropped pairs of the last variant that dropped any."""
    for variant in reversed(results.variants):
        found = gallery.dropped(variant, member, scenes)
        if found["groups"]:
            return {"variant": variant, **found}
    return {"variant": None, "groups": {}, "counts": {}}


def numbers(folders: Folders, name: str) -> dict[str, Any]:
    """What reports/ holds of a corpus, also of one that was not trained here: tables and figures."""
    rows = gather.headline(folders.metrics, folders.ablation, name)
    files = {key: folders.ablation / name / f"{key}.svg" for key in FIGURES}
    return {
        "name": name,
        "rows": rows,
        "ceilings": {
            benchmark: {split: gather.ceilings(folders.metrics, name, benchmark, split) for split in splits}
            for benchmark, splits in rows.items()
        },
        "published": {benchmark: published(benchmark) for benchmark in rows},
        "elimination": gather.elimination(folders.metrics, name),
        "reranking": gather.reranking(folders.ablation, name),
        "figures": {key: figure(path) for key, path in files.items() if path.exists()},
    }


def benchmark(folders: Folders, name: str) -> dict[str, Any]:
    """What is known of a benchmark before any training."""
    summary = json.loads((folders.prepared / name / "summary.json").read_text())
    cloud = gather.cloud(folders.keywords / name)
    return {"name": name, "summary": summary, "origin": summary.get("origin"), "cloud": cloud}


def definition(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What params.yaml says of a corpus: its backbone, and whether captions are exchanged on purpose.

    A corpus that it does not define has a dash for a backbone.
    """
    if name not in params["corpus"]:
        return {"backbone": "–", "corrupted": False}
    config, _ = resolve(params, name, params["variants"][-1])
    return {"backbone": config.model.name, "corrupted": config.train.injected_rate > 0}


def studies(folder: Path) -> list[tuple[str, Markup]]:
    """Name and figure of each committed study: <name>.svg, or the figures of a folder <name>/."""
    paths = sorted(folder.rglob("*.svg"))
    return [(str(path.relative_to(folder).with_suffix("")).replace("/", ", "), figure(path)) for path in paths]


def figure(path: Path) -> Markup:
    """An SVG file as a data URI; ids of several figures cannot clash there."""
    text = " ".join(path.read_text().split())
    quoted = quote(text.replace('"', "'"), safe=" =:/;,.-()'!*?")
    return Markup("data:image/svg+xml,") + Markup(quoted)  # noqa: S704 - no character of HTML is left


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits; a dash where there is no value."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """As `number`, with its sign."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Three digits; "< 0.001" below what they can tell."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{100 * value:.1f}%"
