import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from search_fixtures import CAPTIONS, draw, shareable, write_images, write_model

from iebaker.errors import IebakerError
from iebaker.search.archive import Archive
from iebaker.search.commit import commit, publish
from iebaker.search.embedding import Embedder
from iebaker.search.index import write_shards
from iebaker.search.plan import Request, make_plan


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return Embedder(write_model(tmp_path_factory.mktemp("search") / "model"))


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", range(45))


def index(embedder, archive, paths, share=None, collect=True, **options):
    plan = plan_of(embedder, archive, paths, **options)
    done = write_shards(plan, embedder, share or (1, 1))
    if collect:
        commit(plan)
    return done


def plan_of(embedder, archive, paths, **options):
    options = {"captions": embedder.folder / "captions.txt", "bank_size": 100, "files_per_shard": 10} | options
    return make_plan(archive, embedder, Request(embedder.folder, paths, **options))


def test_shards_are_geoparquet_with_normalised_vectors(embedder, images, tmp_path):
    index(embedder, tmp_path / "archive", [images])
    archive = Archive(tmp_path / "archive")
    assert archive.table["href"].to_pylist() == [f"images/{seed:04d}.png" for seed in range(45)]
    np.testing.assert_allclose(np.linalg.norm(archive.vectors, axis=1), 1, atol=2e-3)
    for row in (0, 13, 44):
        alone = embedder.images([images / f"{row:04d}.png"])[0][0]
        assert np.array_equal(archive.vectors[row].astype(np.float16), alone)
    shard = pq.read_schema(archive.files[0])
    assert json.loads(shard.metadata[b"geo"])["primary_column"] == "geometry"
    assert str(shard.field("vector").type) == "fixed_size_list<element: halffloat>[16]"
    collection = archive.collection
    assert (collection["type"], collection["emb:dimensions"], collection["data_type"]) == ("Collection", 16, "float16")
    assert {link["rel"] for link in collection["links"]} >= {"emb:model", "emb:source-data"}
    assert archive.captions[0] == sorted(CAPTIONS) and archive.profiles.shape == (45, len(CAPTIONS))


def test_the_same_images_give_the_same_bytes_anywhere(embedder, images, tmp_path):
    for place in ("here", "far/away"):
        moved = write_images(tmp_path / place / "images", range(45))
        index(embedder, tmp_path / place / "archive", [moved], tokens=True)
    one, other = (shareable(tmp_path / place / "archive") for place in ("here", "far/away"))
    assert one == other and {"shards/00004.parquet", "tokens/00004.npy", "captions.parquet"} <= one.keys()
    text = b"".join(one.values()) + str(Archive(tmp_path / "here/archive").table.to_pylist()).encode()
    assert str(tmp_path).encode() not in text


def test_an_update_embeds_what_changed_and_equals_a_new_archive(embedder, images, tmp_path):
    index(embedder, tmp_path / "archive", [images], tokens=True)
    (images / "0003.png").unlink()
    draw(300).save(images / "0007.png")
    for seed, name in ((301, "0007b.png"), (302, "0007c.png")):
        draw(seed).save(images / name)
    os.utime(images / "0008.png", (1, 1))
    done = index(embedder, tmp_path / "archive", [images], tokens=True)
    assert (done.embedded, done.reused, done.complete) == (3, 43, 0)
    index(embedder, tmp_path / "new", [images], tokens=True)
    updated, new = shareable(tmp_path / "archive"), shareable(tmp_path / "new")
    new["collection.json"] = new["collection.json"].replace(b'"id": "new"', b'"id": "archive"')
    assert updated == new
    again = index(embedder, tmp_path / "archive", [images], tokens=True)
    assert (again.embedded, again.written, again.complete) == (0, 0, 5)


def test_shares_of_two_machines_equal_one_process(embedder, images, tmp_path):
    index(embedder, tmp_path / "alone/archive", [images])
    shared = tmp_path / "shared/archive"
    index(embedder, shared, [images], share=(1, 2), collect=False)
    plan = plan_of(embedder, shared, [images])
    with pytest.raises(IebakerError, match="shards 2, 4 of 5 are not there yet"):
        commit(plan)
    with pytest.raises(IebakerError, match="no archive"):
        Archive(shared)
    index(embedder, shared, [images], share=(2, 2), collect=False)
    assert commit(plan) == 45
    assert shareable(shared) == shareable(tmp_path / "alone/archive")


def test_a_killed_run_is_resumed_to_the_same_bytes(embedder, images, tmp_path):
    """A real process, killed as soon as it left a shard."""
    archive = tmp_path / "archive"
    options = ["--model", embedder.folder, "--images", images, "--files-per-shard", "2", "--bank-size", "0"]
    command = [sys.executable, "-c", "from iebaker.cli import app; app()", "index", archive, *options]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(archive.glob("pending/*.parquet")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    left = len(list(archive.glob("pending/*.parquet")))
    assert left < 23
    done = index(embedder, archive, [images], files_per_shard=2, bank_size=0)
    assert done.complete >= left and done.complete + done.written == 23
    index(embedder, tmp_path / "new/archive", [images], files_per_shard=2, bank_size=0)
    assert shareable(archive) == shareable(tmp_path / "new/archive")


def test_a_refused_name_is_no_formula(embedder, tmp_path):
    images = write_images(tmp_path / "=1+1", range(1))
    (images / "broken.png").write_bytes(b"no image")
    index(embedder, tmp_path / "archive", [images])
    assert (tmp_path / "archive/refused.csv").read_text().splitlines()[1].startswith("'=1+1/broken.png,")


def test_refused_files_are_listed_and_stop_nothing(embedder, tmp_path):
    images = write_images(tmp_path / "images", range(3))
    (images / "broken.png").write_bytes((images / "0000.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(images / "deep.png")
    (images / "page.zip").write_text("<html>")
    (images / "gone.png").symlink_to("nowhere")
    with zipfile.ZipFile(images / "packed.zip", "w") as packed:
        packed.write(images / "0000.png", "sub/inside.png")
        packed.writestr("sub/notes.txt", "no image")
        packed.writestr("__MACOSX/._inside.png", "no image")
    done = index(embedder, tmp_path / "archive", [images])
    archive = Archive(tmp_path / "archive")
    packed = "images/packed.zip/sub/inside.png"
    assert archive.table["href"].to_pylist() == [f"images/000{n}.png" for n in range(3)] + [packed]
    assert {href.rpartition("/")[2] for href, _ in done.refused} == {"broken.png", "deep.png", "page.zip", "gone.png"}
    assert "16-bit" in (tmp_path / "archive/refused.csv").read_text()
    assert archive.roots.open(packed).read() == (images / "0000.png").read_bytes()
    with pytest.raises(IebakerError, match="relative"):
        archive.roots.open("images/../model/model.json")


def test_patterns_files_and_equal_names_are_told_apart(embedder, tmp_path):
    for place in ("a", "b"):
        write_images(tmp_path / place / "images", range(2))
    single = tmp_path / "a/images/0001.png"
    index(embedder, tmp_path / "archive", [tmp_path / "a/images/*0.png", tmp_path / "b/images", single])
    archive = Archive(tmp_path / "archive")
    hrefs = archive.table["href"].to_pylist()
    assert hrefs == ["images-2/0000.png", "images-2/0001.png", "images/0000.png", "images/0001.png"]
    assert archive.roots.path(hrefs[0]) == str(tmp_path / "b/images/0000.png")
    with pytest.raises(IebakerError, match="matches nothing"):
        index(embedder, tmp_path / "archive", [tmp_path / "c/*"])


def test_another_model_is_refused(embedder, images, tmp_path):
    index(embedder, tmp_path / "archive", [images])
    other = Embedder(write_model(tmp_path / "other", seed=1))
    with pytest.raises(IebakerError, match="made by another model"):
        index(other, tmp_path / "archive", [images])
    with pytest.raises(IebakerError, match="another model than the one that made"):
        Archive(tmp_path / "archive").check_model(other.fingerprint, other.folder)


def test_a_published_archive_finds_its_model_and_images_after_a_move(embedder, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(embedder.folder, project / "model")
    write_images(project / "images", range(5))
    index(Embedder(project / "model"), tmp_path / "work", [project / "images"])
    publish(tmp_path / "work", project / "archive")
    project.rename(tmp_path / "elsewhere")
    archive = Archive(tmp_path / "elsewhere/archive")
    assert archive.model_folder == tmp_path / "elsewhere/model"
    assert archive.roots.places == {"images": tmp_path / "elsewhere/images"}
    kept = b"".join(path.read_bytes() for path in archive.folder.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in kept
