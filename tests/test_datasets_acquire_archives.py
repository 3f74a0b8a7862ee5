"""Archives: joined and unpacked to the same bytes, never out of their folder."""

import io
import random
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from datasets_builders import write_zip

from iebaker.datasets.acquire import archives
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

MEMBERS = {f"images/a_{number}.jpg": bytes([number]) * 40_000 for number in range(6)}


def write_tar(file, members=MEMBERS, special=None):
    with tarfile.open(file, f"w:{file.suffix[1:].replace('tar', '').replace('tgz', 'gz')}") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if special:
            archive.addfile(special)


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2"])
def test_tar_becomes_a_folder_of_its_name(tmp_path, name):
    (tmp_path / "part").mkdir()
    write_tar(tmp_path / "part" / name)
    archives.unpack(tmp_path)
    files = RawFiles(tmp_path)
    assert {found: files.read(found) for found in files.named(name)} == {
        f"part/{name}/{member}": content for member, content in MEMBERS.items()
    }
    assert {path.name for path in (tmp_path / "part").iterdir()} == {name}


@pytest.mark.parametrize(
    "entry",
    [
        special("link", tarfile.SYMTYPE, "../../outside"),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "../outside"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
        special("../outside", tarfile.REGTYPE),
    ],
    ids=lambda entry: f"{entry.name}-{entry.linkname}",
)
def test_tar_that_leads_out_is_refused(tmp_path, entry):
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw/a.tar.gz", {}, entry)
    with pytest.raises(IebakerError, match=r"^a\.tar\.gz: cannot be unpacked \(.*get it again, or unpack it by hand"):
        archives.unpack(tmp_path / "raw")
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


@pytest.mark.parametrize("lost", [1, 10, 100, 300])
@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_damaged_tar(tmp_path, name, lost):
    write_tar(tmp_path / name, {"a.bin": random.Random(0).randbytes(2000)})
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-lost])
    with pytest.raises(IebakerError, match=rf"{name}: cannot be unpacked"):
        archives.unpack(tmp_path)


def test_tar_too_large_for_the_disk(tmp_path):
    large = tarfile.TarInfo("zeros.bin")
    large.size = 10**17
    (tmp_path / "b.tar").write_bytes(large.tobuf())
    with pytest.raises(IebakerError, match="100,000,000,000 MB are needed"):
        archives.unpack(tmp_path)


@pytest.mark.skipif(not shutil.which("zip"), reason="needs Info-ZIP's zip to split one")
def test_split_zip_is_joined(tmp_path):
    for name, content in MEMBERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-0", "-r", "-s", "64k", "a.zip", "images"], cwd=tmp_path, check=True)
    shutil.rmtree(tmp_path / "images")
    volumes = sorted(path.name for path in tmp_path.iterdir())
    assert len(volumes) >= 4
    archives.unpack(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"} == MEMBERS
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_volumes_that_do_not_fit_together(tmp_path):
    write_zip(tmp_path / "a.zip", {"a.txt": b"a"})
    (tmp_path / "a.z02").write_bytes(b"x")
    with pytest.raises(IebakerError, match=r"a\.zip: its volume a\.z01 is missing; add it"):
        archives.unpack(tmp_path)
    (tmp_path / "a.z02").rename(tmp_path / "a.z01")
    with pytest.raises(IebakerError, match=r"do not fit together \(1 volumes, 2 are there\); join them \(zip -s 0"):
        archives.unpack(tmp_path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.rar", "unrar x a.rar a/"),
        ("a.7z", "7z x a.7z -oa"),
        ("d.json.gz", "gunzip -k d.json.gz"),
        ("A.RAR", "unrar x A.RAR A/"),
    ],
)
def test_other_archives_are_refused_with_the_command(tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IebakerError) as refusal:
        archives.refuse_foreign(type(tmp_path)(name))
    assert f"unpack it ({command}) and give what comes out as the source" in str(refusal.value)
