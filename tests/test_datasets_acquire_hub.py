"""The hub, mimicked: a fetch in a process of its own, since the client reads HF_ENDPOINT when it is imported."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer

PLACE = f"hf://datasets/org/set@{COMMIT}/data/*.parquet"
FILES = {"data/train-0.parquet": b"PAR1" + bytes(3000) + b"PAR1", "data/test-0.parquet": b"PAR1test", "README.md": b"#"}
SCRIPT = """
import json, sys
from pathlib import Path
from iebaker.datasets.acquire import hub
from iebaker.datasets.acquire.checksums import Wanted
from iebaker.datasets.acquire.web import Patience
from iebaker.errors import IebakerError
for place, md5 in json.loads(sys.argv[2]):
    try:
        snapshot, files = hub.fetch(place, Wanted(md5=md5), Path(sys.argv[1]), Patience(3, 0.001, 0.01, 2))
    except IebakerError as error:
        print(json.dumps(str(error)))
    else:
        print(json.dumps([snapshot.commit, {name: [str(path), digest] for name, (path, digest) in files.items()}]))
"""


@pytest.fixture
def hub():
    with HubServer({"org/set": dict(FILES)}) as server:
        yield server


def fetch_all(url, folder, *places, **environment):
    """What `hub.fetch` gives of each (place, md5): [commit, {name: [path, sha256]}], or its error as text."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-c", SCRIPT, str(folder / "downloads"), json.dumps(places)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **settings})
    return [json.loads(line) for line in done.stdout.splitlines()]


def fetch(url, folder, **environment):
    return fetch_all(url, folder, (PLACE, ""), **environment)[0]


def check(found):
    commit, files = found
    assert commit == COMMIT and set(files) == {"data/train-0.parquet", "data/test-0.parquet"}
    for name, (path, digest) in files.items():
        assert Path(path).read_bytes() == FILES[name] and digest == hashlib.sha256(FILES[name]).hexdigest()
    return files


def test_files_that_fit_come_into_the_cache_and_stay_there(hub, tmp_path):
    check(fetch(hub.url, tmp_path))
    assert not any("README" in request for request in hub.requests)
    loaded = [request for request in hub.requests if request.startswith("GET /datasets")]
    assert len(loaded) == 2
    check(fetch(hub.url, tmp_path))
    assert [request for request in hub.requests if request.startswith("GET /datasets")] == loaded
    # a pinned commit in the cache needs no hub at all
    pinned, branch = fetch_all("http://127.0.0.1:9", tmp_path, (PLACE, ""), (PLACE.replace(COMMIT, "main"), ""))
    check(pinned)
    assert "the hub does not answer (Connection refused); HF_ENDPOINT" in branch


def test_busy_hub_and_cut_file_are_asked_again(hub, tmp_path):
    hub.fail = {"^/api/": [503, 429], "resolve": [500]}
    hub.cut = {"data/train-0.parquet": 1000}
    check(fetch(hub.url, tmp_path))


def test_damaged_cache_is_fetched_again(hub, tmp_path):
    path, _ = check(fetch(hub.url, tmp_path))["data/train-0.parquet"]
    with Path(path).open("r+b") as file:
        file.write(b"XXXX")
    check(fetch(hub.url, tmp_path))


def test_token_is_sent(hub, tmp_path):
    hub.token = "hf_secret"
    check(fetch(hub.url, tmp_path, HF_TOKEN="hf_secret"))
    refused = fetch(hub.url, tmp_path / "other", HF_TOKEN="hf_wrong")
    assert refused == f"{PLACE}: no such data set, or a private one (HF_TOKEN)"


def test_what_the_hub_does_not_give_is_one_line(hub, tmp_path):
    expected = {
        ("hf://datasets/org/other/a.zip", ""): "no such data set, or a private one (HF_TOKEN)",
        ("hf://datasets/org/a--b/a.zip", ""): "no name of a data set",
        ("hf://datasets/org/set@v9/a.zip", ""): "no such revision",
        ("hf://datasets/org/set/*.zip", ""): "no file of the data set fits *.zip; correct it",
        (PLACE, "0" * 32): "2 files cannot have one checksum; name a single file",
        (f"hf://datasets/org/set@{COMMIT}/data/test*", "0" * 32): f"MD5 is {hashlib.md5(b'PAR1test').hexdigest()}",
    }
    hub.datasets["org/evil"] = {"data/../../../x.parquet": b"PAR1"}
    expected["hf://datasets/org/evil/data/*", ""] = "'data/../../../x.parquet' is not a plain relative path"
    for message, refused in zip(expected.values(), fetch_all(hub.url, tmp_path, *expected), strict=True):
        assert message in refused and "\n" not in refused
    hub.fail = {"^/api/": [503] * 20}
    assert fetch(hub.url, tmp_path / "other") == f"{PLACE}: the hub answered 503"
