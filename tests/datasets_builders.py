"""Tiny real sources, built on the spot: images as files, annotations in every published layout."""

import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
RSICD = Path(os.environ.get("IEBAKER_RSICD", REPOSITORY / "../shared/datasets/rsicd")).resolve()
NAMES = {"airport_1.jpg": "train", "port_2.jpg": "train", "00003.jpg": "val", "river_4.jpg": "test"}


def needs(path: Path):
    """Skip, visibly, where real data is absent."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path} is absent (set IEBAKER_RSICD)")


def noise(seed: int, width: int = 32, height: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(seed: int, kind: str = "JPEG", width: int = 32, height: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed, width, height)).save(buffer, kind)
    return buffer.getvalue()


def write_images(folder: Path, names=NAMES) -> None:
    for seed, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(seed, "TIFF" if name.endswith(".tif") else "JPEG"))


def write_zip(file: Path, members: dict[str, bytes], damage: str = "") -> None:
    """A zip of `members`; `damage` marks all as encrypted or of an unknown method, or spoils their deflated content."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if damage == "content" else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    if not damage:
        return
    spoiled = bytearray(file.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for match in re.finditer(signature, bytes(spoiled)):
            if damage == "encrypted":
                spoiled[match.start() + flags] |= 1
            elif damage == "method":
                spoiled[match.start() + flags + 2] = 99
            elif flags == 6:
                start = match.start() + 30 + spoiled[match.start() + 26]
                spoiled[start : start + 20] = b"\xff" * 20
    file.write_bytes(spoiled)


def karpathy(names=NAMES, captions: int = 2) -> dict:
    images = []
    for row, (name, split) in enumerate(names.items()):
        sentences = [{"raw": f" caption {k} of {name} .", "sentid": row * captions + k} for k in range(captions)]
        images.append({"filename": name, "split": split, "imgid": row, "sentences": sentences})
    return {"dataset": "tiny", "images": images}


def nwpu(classes: dict[str, dict[str, str]]) -> dict:
    return {
        scene: [
            {
                "filename": name,
                "imgid": row,
                "split": split,
                "raw": f"{name} 0",
                "raw_2": f"{name} 2",
                "raw_1": f"{name} 1",
            }
            for row, (name, split) in enumerate(names.items())
        ]
        for scene, names in classes.items()
    }


def write_csv(file: Path, rows: list[tuple[str, ...]], header=("filename", "title", "split")) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def write_source(folder: Path, annotations: dict | None = None, names=NAMES) -> Path:
    """A local Karpathy source: dataset.json and images/."""
    write_images(folder / "images", names)
    (folder / "dataset.json").write_text(json.dumps(annotations or karpathy(names)))
    return folder
