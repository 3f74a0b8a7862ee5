"""The benchmark `synthetic` as raw files: drawn overhead scenes in the layout of RSICD's annotations.

One random stream per purpose and image: captions do not change with the drawing, images and untouched captions do not
change with `weak_rate`.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from iebaker.config.params import SyntheticParams
from iebaker.scenes.canvas import Canvas
from iebaker.scenes.captions import Caption, describe
from iebaker.scenes.classes import SCENES
from iebaker.scenes.weak import Described, Replacement, replacements

SPLITS = ("train", "val", "test")
PURPOSES = ("drawing", "captions", "weak order", "weak content")


def stream(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The random stream of one purpose; `key` tells split and image apart."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *key))))


def draw(seed: int, split: str, index: int, size: int) -> tuple[str, dict[str, str], np.ndarray]:
    """Scene class, facts and pixels ((size, size, 3) uint8) of one image; classes take turns."""
    scene = list(SCENES)[index % len(SCENES)]
    canvas = Canvas(size, stream(seed, "drawing", SPLITS.index(split), index))
    facts = SCENES[scene](canvas)
    return scene, facts, canvas.develop()


def write_raw(folder: Path, params: SyntheticParams) -> None:
    """Writes `folder`/dataset.json (Karpathy's layout) and `folder`/images/*.png, the same bytes on every run.

    Each image has its `scene`; a replaced sentence has `weak`, its kind, and `original`, the caption that it replaces.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    splits: list[str] = []
    described: list[Described] = []
    for number, split in enumerate(SPLITS):
        for index in range(getattr(params, split)):
            scene, facts, pixels = draw(params.seed, split, index, params.image_size)
            captions = describe(scene, facts, stream(params.seed, "captions", number, index))
            names.append(f"{scene}_{split}_{index:04d}.png")
            splits.append(split)
            described.append(Described(scene, facts, captions))
            Image.fromarray(pixels).save(folder / "images" / names[-1], compress_level=1)
    # training images come first, so positions among them are positions among all
    weak = replacements(
        described[: params.train],
        params.weak_rate,
        stream(params.seed, "weak order"),
        stream(params.seed, "weak content"),
    )
    images = []
    for image, (name, split, (scene, _, captions)) in enumerate(zip(names, splits, described, strict=True)):
        sentences = [
            _sentence(caption, weak.get((image, position)), image, image * len(captions) + position)
            for position, caption in enumerate(captions)
        ]
        sentids = [sentence["sentid"] for sentence in sentences]
        images.append(
            {
                "filename": name,
                "imgid": image,
                "sentids": sentids,
                "sentences": sentences,
                "split": split,
                "scene": scene,
            }
        )
    annotations = json.dumps({"images": images, "dataset": "synthetic"}, indent=1)
    (folder / "dataset.json").write_text(annotations + "\n", encoding="utf-8")


def _sentence(caption: Caption, weak: Replacement | None, image: int, sentence: int) -> dict[str, object]:
    text = weak.text if weak else caption.text
    record: dict[str, object] = {"tokens": text.rstrip(" .").split(), "raw": text, "imgid": image, "sentid": sentence}
    return {**record, "weak": weak.kind, "original": caption.text} if weak else record
