"""What --data of `iebaker evaluate-model` names: a prepared benchmark, a declared one, or any folder or archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from iebaker.config.params import BenchmarkParams, parse
from iebaker.config.sources import Layout
from iebaker.corpus import manifest
from iebaker.corpus.loading import PIXELS_FILE, Member, split_of
from iebaker.datasets.acquire.places import kind_of
from iebaker.datasets.evaluation_split import EvaluationSplit, gathered, read_split
from iebaker.errors import IebakerError
from iebaker.layout import PARAMS, PREPARED
from iebaker.project.parameters import load_params


@contextmanager
def open_split(data: str, split: str, layout: dict[str, str]) -> Iterator[EvaluationSplit]:
    """One split of what `data` names; its files may be needed until the block ends.

    Args:
        data: a benchmark in data/prepared, one of params.yaml whose sources lie on disk, or a folder or zip.
        split: train, val or test.
        layout: `format`, `annotations` and `images` of a folder or zip, as in params.yaml; what is not there is found.

    Raises:
        IebakerError: if there is no such data, or the split is empty or cannot be read.
    """
    if (PREPARED / data / manifest.FILE).is_file() and not layout:
        yield _prepared(PREPARED / data, split)
        return
    declared = load_params()["benchmark"] if PARAMS.is_file() else {}
    place = Path(data).expanduser()
    if data in declared and not place.exists():
        params, places = _local(data, parse(BenchmarkParams, declared[data], f"benchmark.{data}"))
    elif place.exists():
        params, places = parse(BenchmarkParams, {"source": data, **layout}, "--data"), [place]
    else:
        known = ", ".join(declared) or "none, for want of a params.yaml here"
        raise IebakerError(f"--data {data}: neither a file or folder nor a benchmark (there: {known})")
    with gathered(places) as folder:
        yield read_split(folder, params, split, data)


def _local(name: str, params: BenchmarkParams) -> tuple[BenchmarkParams, list[Path]]:
    """The first source of a benchmark that lies on disk as it can be read, with its layout."""
    for choice in params.choices:
        places = [Path(part.place).expanduser() for part in choice.parts if kind_of(part.place) == "local"]
        if len(places) == len(choice.parts) and all(place.exists() for place in places):
            return params.model_copy(update={key: getattr(choice, key) for key in Layout.model_fields}), places
    raise IebakerError(
        f"benchmark.{name}: none of its sources lies on disk; run `dvc repro 'prepare@{name}'` or give a folder"
    )


def _prepared(folder: Path, split: str) -> EvaluationSplit:
    pixels = np.load(folder / PIXELS_FILE, mmap_mode="r")
    member = Member(folder.name, manifest.read(folder / manifest.FILE), pixels, [], "")
    chosen = split_of(member, split)
    if not chosen.captions:
        raise IebakerError(f"{folder}: no image of the split {split}; run `dvc repro` with another source")
    note = f"the images are those of {folder}, stored at {pixels.shape[1]} pixels a side"
    return EvaluationSplit(
        folder.name, lambda size: member.images(chosen.image_ids), chosen.captions, chosen.image_of_text, notes=[note]
    )
