"""A tiny model with random weights, and folders of drawn images, for the tests of search."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from conftest import section
from PIL import Image, ImageDraw

from iebaker.config.params import ModelParams
from iebaker.model import factory
from iebaker.model.compat import open_clip
from iebaker.search import bench
from iebaker.search.archive import Archive
from iebaker.search.items import Place

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 20, "width": 32, "heads": 2, "layers": 1},
}
CAPTIONS = [f"{number} {thing} near a {colour} field" for number in ("one", "two", "many")
            for thing in ("boats", "planes", "trees", "tanks") for colour in ("green", "grey", "white")]  # fmt: skip


def write_model(folder: Path, seed: int = 0, local: float = 1.0) -> Path:
    """A model folder as training leaves it."""
    configs = folder.parent / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    (configs / "tiny-search.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(configs)
    torch.manual_seed(seed)
    model = factory.create(section(ModelParams, name="tiny-search", pretrained=""))
    factory.save(model, folder, {"local": {"loss": local, "mask_padding": True}})
    (folder / "captions.txt").write_text("\n".join(CAPTIONS))
    return folder


def draw(seed: int, size: int = 40) -> Image.Image:
    """A picture of its own for each seed."""
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(map(int, generator.integers(0, 256, 3))))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = generator.integers(0, size - 10, 2)
        pen.ellipse([left, top, left + 9, top + 9], fill=tuple(map(int, generator.integers(0, 256, 3))))
    return image


def write_images(folder: Path, seeds: range) -> Path:
    """PNG files named by their seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        draw(seed).save(folder / f"{seed:04d}.png")
    return folder


def shareable(archive: Path) -> dict[str, bytes]:
    """Content of all files of an archive but this machine's own."""
    files = sorted(path for path in archive.rglob("*") if path.is_file())
    names = {path.relative_to(archive).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith("local/")}


def write_archive(folder: Path, vectors: np.ndarray, place: Callable[[int], tuple] = lambda row: ()) -> Archive:
    """An archive of given vectors, without images, in two shards.

    Args:
        place: the fields of `Place` of each row.
    """
    parts = np.array_split(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 2)
    return bench.write_archive(folder, parts, lambda row: Place(*place(row)))
