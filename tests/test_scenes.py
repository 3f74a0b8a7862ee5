"""The embedded benchmark: same bytes from the same seed, true captions, weak captions as declared."""

import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from conftest import section
from PIL import Image

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.datasets.acquire.catalogue import acquire
from iebaker.datasets.prepare import prepare
from iebaker.scenes import captions, templates, weak, write_raw
from iebaker.scenes.canvas import Canvas
from iebaker.scenes.classes import SCENES
from iebaker.scenes.generate import draw, stream
from iebaker.scenes.sheet import contact_sheet

SMALL = section(SyntheticParams, train=81, val=9, test=9, image_size=32, weak_rate=0.4)


def read(folder, params=SMALL):
    write_raw(folder, params)
    return json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["images"]


def sentences(images):
    return [sentence for image in images for sentence in image["sentences"]]


def originals(images):
    return [sentence.get("original", sentence["raw"]) for sentence in sentences(images)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, read(folder)


@pytest.fixture(scope="module")
def described():
    """Facts and captions of 14 images of each class; small pictures, since only their facts matter."""
    result = []
    for index in range(14 * len(SCENES)):
        scene, facts, _ = draw(3, "train", index, 32)
        result.append(weak.Described(scene, facts, captions.describe(scene, facts, stream(3, "captions", 0, index))))
    return result


def test_same_seed_same_bytes(raw, tmp_path):
    folder, _ = raw
    write_raw(tmp_path, SMALL)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 100
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)


def test_other_seed_other_images(raw, tmp_path):
    _, images = raw
    other = read(tmp_path, SMALL.model_copy(update={"seed": 1}))
    assert originals(images) != originals(other)


def test_karpathy_layout(raw):
    folder, images = raw
    assert Counter(image["split"] for image in images) == {"train": 81, "val": 9, "test": 9}
    assert len(SCENES) >= 20 and {image["scene"] for image in images} == set(SCENES)
    assert [image["imgid"] for image in images] == list(range(99))
    assert [sentence["sentid"] for sentence in sentences(images)] == list(range(5 * 99))
    assert all(image["sentids"] == [s["sentid"] for s in image["sentences"]] for image in images)
    picture = np.asarray(Image.open(folder / "images" / images[0]["filename"]))
    assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_rate_changes_only_the_replaced_captions(raw, tmp_path, rate):
    folder, images = raw
    other = read(tmp_path, SMALL.model_copy(update={"weak_rate": rate}))
    assert originals(other) == originals(images)
    assert all(
        (folder / "images" / image["filename"]).read_bytes() == (tmp_path / "images" / image["filename"]).read_bytes()
        for image in images
    )
    # what both rates replace, they replace alike, and the smaller set lies in the larger
    first, second = ({s["sentid"]: s for s in sentences(side) if "weak" in s} for side in (images, other))
    common = first.keys() & second.keys()
    assert len(common) == min(len(first), len(second))
    assert all(first[key] == second[key] for key in common)


def test_weak_captions_come_in_equal_parts_and_only_in_training(raw):
    _, images = raw
    replaced = [sentence for sentence in sentences(images) if "weak" in sentence]
    assert len(replaced) == round(0.4 * 81 * 5)
    assert Counter(sentence["weak"] for sentence in replaced) == {"vague": 54, "sibling": 54, "other": 54}
    assert not any("weak" in s for image in images if image["split"] != "train" for s in image["sentences"])


def test_weak_captions_are_of_their_kind(described):
    chosen = weak.replacements(described, 1.0, stream(3, "weak order"), stream(3, "weak content"))
    by_text = defaultdict(list)
    for image in described:
        for caption in image.captions:
            by_text[caption.text].append((image.scene, caption))
    for (image, _), (kind, text) in chosen.items():
        scene, facts, own = described[image]
        assert text not in {caption.text for caption in own}
        if kind == "vague":
            assert text.removesuffix(" .") in templates.VAGUE
        elif kind == "sibling":
            assert any(source == scene and not caption.holds(facts) for source, caption in by_text[text])
        else:
            assert any(source != scene for source, _ in by_text[text])


def test_captions_are_true_and_well_formed(described):
    for scene, facts, five in described:
        assert len(five) == captions.CAPTIONS_PER_IMAGE
        for caption in five:
            assert caption.holds(facts), (scene, caption)
            assert re.fullmatch(r"[a-z][a-z -]+ \.", caption.text), caption.text
            assert not re.search(r"\ba [aeio]|  |\bthere\b.*\bthere\b", caption.text), caption.text


def test_every_template_is_used_and_every_slot_is_a_fact(described):
    known = defaultdict(set)
    for scene, facts, _ in described:
        known[scene] |= set(facts)
    assert set(templates.SCENES) == set(SCENES)
    for scene, sentences_of_class in templates.SCENES.items():
        for template in sentences_of_class:
            assert set(re.findall(r"\{(\w+)[:}=]", template)) <= known[scene], template


def test_captions_repeat_within_and_across_images(described):
    distinct = [len({caption.text for caption in five}) for *_, five in described]
    assert np.mean(np.array(distinct) < 5) > 0.3
    images_of = defaultdict(set)
    for index, (*_, five) in enumerate(described[:300]):
        for caption in five:
            images_of[caption.text].add(index)
    shared = np.mean([len(images_of[caption.text]) > 1 for *_, five in described[:300] for caption in five])
    assert 0.05 < shared < 0.25


def test_a_repeated_number_agrees_with_its_noun():
    facts = {"planes": "one", "terminal": "red", "near": "trees", "side": "left", "ground": "grass"}
    texts = {c.text for seed in range(80) for c in captions.describe("airport", facts, stream(seed, "captions"))}
    assert any(text.startswith("a plane is ") for text in texts)
    assert not any(re.search(r"\b(a|one) (white )?planes\b", text) for text in texts)


@pytest.mark.parametrize("scene", SCENES)
def test_images_of_a_class_differ_and_fill_their_range(scene):
    pictures = []
    for seed in (0, 1):
        canvas = Canvas(48, stream(seed, "drawing"))
        SCENES[scene](canvas)
        pictures.append(canvas.develop())
    first, second = pictures
    assert first.shape == (48, 48, 3) and first.dtype == np.uint8
    assert np.abs(first.astype(int) - second).mean() > 3
    assert first.std() > 8


def test_contact_sheet(tmp_path):
    contact_sheet(tmp_path / "sheet.png", SMALL, columns=3, rows=1)
    assert Image.open(tmp_path / "sheet.png").width > 300


def test_the_benchmark_is_frozen(tmp_path):
    """Nothing is tuned by changing the benchmark: whoever changes these sums makes another one, with another name."""
    params = BenchmarkParams(source="synthetic", image_size=96)
    acquire("synthetic", params, section(SyntheticParams), tmp_path / "raw", tmp_path / "downloads")
    summary = prepare(tmp_path / "raw", params, tmp_path / "prepared")
    assert summary["manifest_sha256"] == "2175fdcb3a220bfe860fd3bd189627c1d1515e636a26d27d8b57742748848d80"
    assert summary["pixels_sha256"] == "4fe6e647d0a86ceb73fee408b14a402d96ea4bf18447df2b9c8edce358c22053"
