"""Acquiring: present, corrupted, half downloaded, missing, server away; nothing finished is ever lost."""

import hashlib
import io
import json
import os
import socket

import pytest
from conftest import section
from datasets_builders import encoded, karpathy, write_images, write_source, write_zip
from pydantic import ValidationError
from werkzeug import Response

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.datasets import sources
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

CONTENT = json.dumps(karpathy()).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def acquire(folder, **params):
    sources.acquire(
        "mine", BenchmarkParams(**params), section(SyntheticParams), folder / "raw/mine", folder / "downloads"
    )
    return folder / "raw/mine"


def partial_of(folder, url, name):
    return folder / hashlib.sha256(url.encode()).hexdigest()[:16] / f"{name}.partial"


@pytest.fixture
def url(httpserver):
    httpserver.expect_request("/data.json").respond_with_data(CONTENT, headers={"ETag": '"1"'})
    return httpserver.url_for("/data.json")


def test_download_is_verified_kept_and_reused(tmp_path, httpserver, url):
    file = sources.download(url, SHA256, tmp_path)
    assert file.name == "data.json" and file.read_bytes() == CONTENT
    httpserver.stop()
    assert sources.download(url, SHA256, tmp_path) == file
    assert sources.download(url, "", tmp_path) == file
    httpserver.start()


def test_url_source_gives_the_raw_folder(tmp_path, httpserver, url):
    write_zip(tmp_path / "images.zip", {name: encoded(1) for name in ("a/airport_1.jpg", "a/port_2.jpg")})
    raw = acquire(tmp_path, source=[url, str(tmp_path / "images.zip")], sha256=[SHA256, ""])
    assert sorted(path.name for path in raw.iterdir()) == ["data.json", "images.zip"]
    assert RawFiles(raw).named("images.zip") == ["images.zip/a/airport_1.jpg", "images.zip/a/port_2.jpg"]


def test_corrupted_download_is_refused_and_earlier_results_stay(tmp_path, httpserver, url):
    raw = acquire(tmp_path, source=url, sha256=SHA256)
    finished = sources.download(url, SHA256, tmp_path / "downloads")
    with pytest.raises(
        IebakerError, match=r"benchmark\.mine\.source: http.*SHA-256 is .*set benchmark\.mine\.source to the folder"
    ):
        acquire(tmp_path, source=url, sha256="0" * 64)
    assert (raw / "data.json").read_bytes() == CONTENT == finished.read_bytes()
    assert not partial_of(tmp_path / "downloads", url, "data.json").exists()


def ranged(content, etag='"1"', cut=None):
    """A server that honours Range under If-Range, and may hang up early."""

    def handle(request):
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if request.headers.get("If-Range") != etag:
            start = 0
        if start >= len(content):
            return Response(status=416)
        body, headers = content[start:], {"ETag": etag}
        response = Response(io.BytesIO(body[:cut]), 206 if start else 200, headers)
        response.headers["Content-Length"] = str(len(body))
        handle.starts.append(start)
        return response

    handle.starts = []
    return handle


def test_interrupted_download_continues(tmp_path, httpserver):
    url = httpserver.url_for("/file.zip")
    httpserver.expect_oneshot_request("/file.zip").respond_with_handler(ranged(CONTENT, cut=100))
    with pytest.raises(IebakerError, match=r"ended after 100 of .*100 bytes so far kept"):
        sources.download(url, SHA256, tmp_path)
    assert partial_of(tmp_path, url, "file.zip").read_bytes() == CONTENT[:100]
    handler = ranged(CONTENT)
    httpserver.expect_request("/file.zip").respond_with_handler(handler)
    assert sources.download(url, SHA256, tmp_path).read_bytes() == CONTENT
    assert handler.starts == [100]


@pytest.mark.parametrize("version", ['"older"', None], ids=["changed on the server", "version unknown"])
def test_partial_of_another_version_starts_over(tmp_path, httpserver, version):
    handler = ranged(CONTENT)
    httpserver.expect_request("/file.zip").respond_with_handler(handler)
    partial = partial_of(tmp_path, httpserver.url_for("/file.zip"), "file.zip")
    partial.parent.mkdir()
    partial.write_bytes(b"x" * 50)
    if version:
        partial.with_name("file.zip.partial.version").write_text(version)
    assert sources.download(httpserver.url_for("/file.zip"), SHA256, tmp_path).read_bytes() == CONTENT
    assert handler.starts == [0]


def test_partial_that_is_already_whole(tmp_path, httpserver):
    httpserver.expect_request("/file.zip").respond_with_handler(ranged(CONTENT))
    partial = partial_of(tmp_path, httpserver.url_for("/file.zip"), "file.zip")
    partial.parent.mkdir()
    partial.write_bytes(CONTENT)
    partial.with_name("file.zip.partial.version").write_text('"1"')
    assert sources.download(httpserver.url_for("/file.zip"), SHA256, tmp_path).read_bytes() == CONTENT


def test_missing_on_the_server(tmp_path, httpserver):
    httpserver.expect_request("/data.json").respond_with_data("gone", status=404)
    with pytest.raises(
        IebakerError, match=r"http://.*/data\.json: the server answered 404 .*by hand and set benchmark\.mine"
    ):
        acquire(tmp_path, source=httpserver.url_for("/data.json"))


def test_server_away_keeps_raw_and_says_what_to_do(tmp_path):
    raw = acquire(tmp_path, source=str(write_source(tmp_path / "source")))
    before = sorted(path.relative_to(raw) for path in raw.rglob("*"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(IebakerError, match=rf"http://127\.0\.0\.1:{port}/a\.zip: no answer .*by hand"):
        acquire(tmp_path, source=f"http://127.0.0.1:{port}/a.zip")
    assert sorted(path.relative_to(raw) for path in raw.rglob("*")) == before


def test_slow_server_times_out(tmp_path, httpserver, monkeypatch):
    monkeypatch.setattr(sources, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(IebakerError, match="no answer .*timed out"):
            sources.download(f"http://127.0.0.1:{silent.getsockname()[1]}/a.zip", "", tmp_path)


def test_web_page_instead_of_an_archive(tmp_path, httpserver):
    httpserver.expect_request("/RSICD.zip").respond_with_data("<!DOCTYPE html><title>log in</title>")
    with pytest.raises(IebakerError, match=r"RSICD\.zip: not a readable zip .*web page"):
        acquire(tmp_path, source=httpserver.url_for("/RSICD.zip"))


def test_folder_is_copied_whole_and_its_read_only_flags_are_not(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "dataset.json").chmod(0o444)
    raw = acquire(tmp_path, source=str(source))
    assert {path.name for path in (raw / "images").iterdir()} == {path.name for path in (source / "images").iterdir()}
    assert os.access(raw / "dataset.json", os.W_OK)
    assert not list(raw.parent.glob(".*"))


def test_of_a_folder_only_what_the_params_name(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "unrelated.bin").write_bytes(b"0" * 10)
    raw = acquire(tmp_path, source=str(source), annotations="dataset.json", images="images")
    assert sorted(path.name for path in raw.iterdir()) == ["dataset.json", "images"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"source": "nowhere"}, "nowhere does not exist"),
        ({"source": "ftp://x/y.zip"}, r"^benchmark\.mine\.source: ftp://x/y\.zip: cannot fetch by 'ftp'; "),
        (
            {"source": ["source", "file:///a.zip"]},
            r"^benchmark\.mine\.source: file:///a\.zip: cannot fetch by 'file'; ",
        ),
        ({"source": "source", "annotations": "other.json"}, r"annotations: 'other\.json' is not in .*dataset\.json"),
        ({"source": "source", "images": "photos"}, r"images: 'photos' is not in .*there: dataset\.json, images"),
        ({"source": "source", "annotations": "/a.json"}, r"annotations \(within `source`; .*'/a\.json' is not a plain"),
        ({"source": "source", "sha256": "0" * 64}, "is a folder, which has no checksum"),
        ({"source": "images.rar"}, r"images\.rar is no zip; unpack it by hand"),
        ({"source": ["source", "source"]}, "an earlier source gives a file of the same name"),
        ({"source": "source/dataset.json", "sha256": "0" * 64}, "SHA-256 is .*damaged, or another version"),
    ],
)
def test_unusable_local_sources(tmp_path, monkeypatch, params, message):
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "source")
    (tmp_path / "images.rar").write_bytes(b"Rar!")
    with pytest.raises(IebakerError, match=message):
        acquire(tmp_path, **params)
    assert not (tmp_path / "raw/mine").exists()


@pytest.mark.parametrize("source", ["", " ", [], ["source", ""]])
def test_no_source(tmp_path, monkeypatch, source):
    monkeypatch.chdir(write_source(tmp_path / "source"))
    params = BenchmarkParams(source="x").model_copy(update={"source": source})
    with pytest.raises(IebakerError, match=r"^benchmark\.mine\.source: is empty; name "):
        sources.acquire("mine", params, section(SyntheticParams), tmp_path / "raw/mine", tmp_path / "downloads")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("place", ["mine", "other/a.json", ".", "away"])
@pytest.mark.parametrize("through", ["raw", "link"])
def test_source_in_the_folder_that_is_overwritten(tmp_path, place, through):
    raw = acquire(tmp_path, source=str(write_source(tmp_path / "source")))
    write_source(raw.parent / "other")
    (tmp_path / "link").symlink_to("raw")
    (raw.parent / "away").symlink_to(tmp_path / "source")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        IebakerError, match=r"^benchmark\.mine\.source: .* lies in .*/raw, which the pipeline overwrites; move it"
    ):
        acquire(tmp_path, source=["source", str(tmp_path / through / place)])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (
            {"images/a_9.jpg": "/nowhere/b.jpg"},
            r"images/a_9\.jpg is a link to /nowhere/b\.jpg, which is not there; mend",
        ),
        ({"images/a_9.jpg": "a_9.jpg"}, r"images/a_9\.jpg is a link to a_9\.jpg, which is not there; mend"),
        ({"images/again": ".."}, r"images/again is a link to \.\., a folder that it lies in; remove it"),
        ({"b/x": "../images", "images/y": "../b"}, r"a folder that it lies in; remove it"),
    ],
)
def test_links_that_lead_nowhere_or_back(tmp_path, links, message):
    source = write_source(tmp_path / "source")
    for name, target in links.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).symlink_to(target)
    with pytest.raises(IebakerError, match=rf"^benchmark\.mine\.source: .*{message}"):
        acquire(tmp_path, source=str(source))
    assert not (tmp_path / "raw/mine").exists()


def test_links_to_files_and_folders_are_followed(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "images").rename(tmp_path / "elsewhere")
    (source / "images").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/b_9.jpg").symlink_to("airport_1.jpg")
    raw = acquire(tmp_path, source=str(source))
    assert (raw / "images/b_9.jpg").read_bytes() == encoded(0) and not (raw / "images/b_9.jpg").is_symlink()


@pytest.mark.parametrize("member", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:/evil.jpg"])
def test_zip_members_that_leave_the_folder(tmp_path, member):
    write_images(tmp_path / "source")
    write_zip(tmp_path / "source/images.zip", {member: encoded(0)})
    with pytest.raises(IebakerError, match=r"images\.zip: file name .* is not a plain relative path"):
        acquire(tmp_path, source=str(tmp_path / "source"))


def test_hidden_files_of_operating_systems_are_no_images(tmp_path):
    write_zip(tmp_path / "a.zip", {"__MACOSX/x/._a_1.jpg": b"0", "x/.DS_Store": b"0", "x/a_1.jpg": encoded(0)})
    assert RawFiles(tmp_path).names == ["a.zip/x/a_1.jpg"]


def test_checksums_must_fit_the_sources():
    assert BenchmarkParams(source=["a", "b"]).checked_sources == [("a", ""), ("b", "")]
    with pytest.raises(ValidationError, match="sha256 has 1 entries, source 2"):
        BenchmarkParams(source=["a", "b"], sha256=SHA256)
    with pytest.raises(ValidationError, match="not a SHA-256"):
        BenchmarkParams(source="a", sha256="75206b2e16446591afa88e2628744886")
