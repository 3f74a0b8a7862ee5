"""HTTP(S): whatever a server does, a finished file is one version of the content, or there is none."""

import hashlib
import json
import time

import pytest
from datasets_builders import karpathy
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_server import ScriptedServer, answer, begin_of, ranged

from iebaker.datasets.acquire import places, web
from iebaker.datasets.acquire.checksums import Wanted
from iebaker.errors import IebakerError

CONTENT = json.dumps(karpathy()).encode()
OTHER = json.dumps(karpathy(captions=3)).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = web.Patience(attempts=4, backoff=0.001, longest=0.01, timeout=0.25)
SECRETS = ("tom", "pass", "token")


def fetch(server, folder, sha256="", md5="", patience=QUICK, path="data.json?key=token"):
    return web.download(server.url(path, "tom:pass@"), Wanted(sha256, md5), folder, patience)


def kept(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_download_is_kept_and_used_again(tmp_path):
    with ScriptedServer([answer(CONTENT)]) as server:
        first = fetch(server, tmp_path)
        assert (first.file.name, first.sha256, first.new) == ("data.json", SHA256, True)
        assert first.file.read_bytes() == CONTENT
        again = fetch(server, tmp_path, SHA256, MD5)
        assert (again.file, again.new) == (first.file, False) and len(server.requests) == 1
        first.file.write_bytes(CONTENT[:-1])  # damaged on disk, and no checksum in the params
        assert fetch(server, tmp_path).new and first.file.read_bytes() == CONTENT
        assert "tom" not in first.file.with_name(".state.json").read_text()


@pytest.mark.parametrize("wanted", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_wrong_checksum_is_refused_and_not_kept(tmp_path, wanted):
    with (
        ScriptedServer([answer(CONTENT)]) as server,
        pytest.raises(IebakerError, match=r"(SHA-256|MD5) is .*params say 0"),
    ):
        fetch(server, tmp_path, **wanted)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_server_is_asked_again(tmp_path, status):
    with ScriptedServer([answer(status=status), answer(status=status), answer(CONTENT)]) as server:
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT and len(server.requests) == 3


def test_server_that_stays_busy_is_left(tmp_path):
    with ScriptedServer([answer(status=503)]) as server:
        with pytest.raises(IebakerError, match=r"answered 503 \(Reason\), and is asked no more"):
            fetch(server, tmp_path)
        assert len(server.requests) == QUICK.attempts


def test_retry_after_is_honoured_up_to_a_bound(tmp_path):
    patience = web.Patience(attempts=2, backoff=0.001, longest=1, timeout=5)
    with ScriptedServer([answer(status=429, Retry_After="86400"), answer(CONTENT)]) as server:
        begin = time.monotonic()
        assert fetch(server, tmp_path, patience=patience).file.read_bytes() == CONTENT
        assert 1 <= time.monotonic() - begin < 10


def test_cut_connection_continues_by_itself(tmp_path):
    with ScriptedServer([ranged(CONTENT, cut=100), ranged(CONTENT, cut=150), ranged(CONTENT)]) as server:
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT
        assert [begin_of(request) for request in server.requests] == [0, 100, 250]


def test_cut_for_ever_is_bounded_and_continued_by_the_next_run(tmp_path):
    with ScriptedServer([ranged(CONTENT, cut=10)] * QUICK.attempts + [ranged(CONTENT)]) as server:
        with pytest.raises(IebakerError, match=r"cut .*4 times; 40 bytes are kept, and continued next time"):
            fetch(server, tmp_path)
        assert len(server.requests) == QUICK.attempts
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT
        assert begin_of(server.requests[-1]) == 40


def test_stalled_connection_times_out(tmp_path):
    with ScriptedServer([5.0]) as server, pytest.raises(IebakerError, match=r"no answer \(timed out\)"):
        fetch(server, tmp_path, patience=web.Patience(attempts=2, backoff=0.001, longest=0.01, timeout=0.1))


def test_killed_before_renaming_asks_nothing(tmp_path):
    with ScriptedServer([ranged(CONTENT, cut=len(CONTENT))]) as server:
        finished = fetch(server, tmp_path).file
        finished.rename(finished.with_name("data.json.partial"))
        state = {"validator": '"1"', "length": len(CONTENT)}
        finished.with_name(".state.json").write_text(json.dumps(state))
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT and len(server.requests) == 1


@pytest.mark.parametrize(
    "state", ["", "[]", "null", '{"validator": 3, "length": "x"}', '{"validator": null, "length": 9}']
)
def test_damaged_state_starts_again(tmp_path, state):
    with ScriptedServer([ranged(CONTENT)]) as server:
        folder = web.folder_of(server.url("data.json?key=token", "tom:pass@"), tmp_path)
        folder.mkdir()
        (folder / "data.json.partial").write_bytes(b"x" * 5)
        (folder / ".state.json").write_text(state)
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT and "Range" not in server.requests[0]


def other_version_as_range(headers):
    begin = begin_of(headers)
    return answer(OTHER[begin:], 206, ETag='"2"', Content_Range=f"bytes {begin}-{len(OTHER) - 1}/{len(OTHER)}")


def same_tag_other_length(headers):
    begin = begin_of(headers)
    return answer(OTHER[begin:], 206, ETag='"1"', Content_Range=f"bytes {begin}-{len(OTHER) - 1}/{len(OTHER)}")


def range_from_zero(headers):
    return answer(CONTENT, 206, ETag='"1"', Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")


def range_without_end(headers):
    return answer(CONTENT[begin_of(headers) :], 206, ETag='"1"', Content_Range=f"bytes {begin_of(headers)}-/*")


def range_that_is_shorter(headers):
    begin = begin_of(headers)
    return answer(CONTENT[begin:-9], 206, ETag='"1"', Content_Range=f"bytes {begin}-{len(CONTENT) - 10}/{len(CONTENT)}")


@pytest.mark.parametrize(
    "second", [other_version_as_range, same_tag_other_length, range_from_zero, range_without_end, range_that_is_shorter]
)
def test_range_of_something_else_starts_again(tmp_path, second):
    with ScriptedServer([ranged(CONTENT, cut=100), second, ranged(CONTENT)]) as server:
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT
        assert [begin_of(request) for request in server.requests] == [0, 100, 0]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}, {"Last_Modified": "Tue, 01 Jan 2019 00:00:00 GMT"}])
def test_without_strong_validator_nothing_is_continued(tmp_path, headers):
    with ScriptedServer([answer(CONTENT, cut=100, **headers), answer(CONTENT, **headers)]) as server:
        assert fetch(server, tmp_path).file.read_bytes() == CONTENT
        assert all("Range" not in request for request in server.requests)


BEHAVIOURS = st.lists(
    st.tuples(
        st.sampled_from(["honest", "ignores ranges", "from zero", "other version", "other tag", "no length", "busy"]),
        st.sampled_from([None, 0, 1, 7, 100, 300]),
    ),
    min_size=1,
    max_size=6,
)


def behave(kind, cut):
    if kind == "busy":
        return answer(status=503)
    if kind == "no length":
        return answer(CONTENT, cut=cut, length=False)
    if kind == "ignores ranges":
        return answer(CONTENT, cut=cut, ETag='"1"')
    if kind == "from zero":
        return lambda headers: range_from_zero(headers)[: -len(CONTENT) + cut if cut else None]
    if kind == "other version":
        return ranged(OTHER, '"2"', cut)
    if kind == "other tag":
        return other_version_as_range
    return ranged(CONTENT, cut=cut)


@settings(max_examples=40)
@given(behaviours=BEHAVIOURS, checked=st.booleans())
def test_no_server_makes_a_mixture(tmp_path_factory, behaviours, checked):
    folder = tmp_path_factory.mktemp("downloads")
    with ScriptedServer([behave(*behaviour) for behaviour in behaviours]) as server:
        for _ in range(2):
            try:
                found = fetch(server, folder, SHA256 if checked else "").file.read_bytes()
            except IebakerError:
                assert not [name for name in kept(folder) if not name.endswith(".partial")]
            else:
                assert found in ([CONTENT] if checked else [CONTENT, OTHER])


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (answer(b"gone", 404), "a.zip", r"answered 404 \(Reason\)$"),
        (answer(b"no", 403), "a.zip", "403 .*wants a login, or refuses you"),
        (answer(b"<p>Maintenance", Content_Type="text/html; charset=utf-8"), "a.zip", "a web page, not the file"),
        (answer(b"\n<!DOCTYPE HTML><title>Maintenance"), "a.zip", "a web page, not the file"),
        (answer(b""), "a.zip", "the file is empty"),
        (answer(b"version https://git-lfs.github.com/spec/v1\n"), "a.json", "a Git LFS pointer"),
        (answer(b"PK\3\4" + bytes(100)), "a.zip", r"not a \.zip file, or not all of one"),
        (answer(b"PAR2" + bytes(100)), "a.parquet", r"not a \.parquet file"),
        (answer(CONTENT, length=False), "a.json", "does not say how long the file is; give its sha256"),
        (answer(CONTENT, Content_Length="abc"), "a.json", "does not say how long the file is"),
        (answer(CONTENT, 206), "a.json", "another range or version"),
        (answer(status=302, Location="file:///etc/passwd"), "a.zip", r"an address that is not http\(s\)"),
        (answer(status=302, Location="ftp://127.0.0.1/a.zip"), "a.zip", r"an address that is not http\(s\)"),
        (answer(status=302, Location="/a.zip"), "a.zip", "redirected more than 10 times, or in a circle"),
        (answer(status=302, Location="http://[::1/a.zip"), "a.zip", "is malformed|no answer"),
        (answer(status=503, Retry_After="soon"), "a.zip", "a header is malformed"),
        (answer(b"x", Content_Length="5, 6"), "a.zip", "malformed|does not say how long"),
        (answer(b"x", Content_Length="-5"), "a.zip", "does not say how long"),
        (b"nonsense\r\n\r\n", "a.zip", "no answer"),
        (b"", "a.zip", "no answer"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused_in_one_line_and_not_kept(tmp_path, given, path, message):
    with ScriptedServer([given]) as server, pytest.raises(IebakerError, match=message) as refusal:
        fetch(server, tmp_path, path=f"{path}?key=token")
    text = str(refusal.value)
    assert "\n" not in text and path in text and not any(secret in text for secret in SECRETS)
    assert kept(tmp_path) == []


def test_length_may_be_unknown_where_a_checksum_or_the_chunks_tell(tmp_path):
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
    for number, body in enumerate(
        [answer(CONTENT, length=False), answer(chunked, length=False, Transfer_Encoding="chunked")]
    ):
        with ScriptedServer([body]) as server:
            assert fetch(server, tmp_path / str(number), sha256=("", SHA256)[number == 0]).file.read_bytes() == CONTENT
    cut = answer(chunked, length=False, Transfer_Encoding="chunked", cut=len(CONTENT) // 2)
    with ScriptedServer([cut]) as server, pytest.raises(IebakerError, match="the connection was cut"):
        fetch(server, tmp_path / "cut")


def test_redirect_is_followed(tmp_path):
    with ScriptedServer([answer(status=302, Location="/elsewhere.bin"), answer(CONTENT)]) as server:
        assert fetch(server, tmp_path).file.name == "data.json"


def test_file_too_large_for_the_disk_is_refused_at_once(tmp_path):
    with ScriptedServer([answer(CONTENT, Content_Length=str(10**17))]) as server:
        with pytest.raises(IebakerError, match="100,000,000,000 MB are needed.*make room"):
            fetch(server, tmp_path)
        assert len(server.requests) == 1


ODD = ["http://[::1/a.zip", "http://", "http:///a.zip", "http://x:port/a.zip", "http://x:99999/a.zip", "http://127.0.0.1:9/..",
       "http://127.0.0.1:9/%2e%2e", "http://127.0.0.1:9/a%00b.zip", "http://127.0.0.1:9/a\x00b.zip", "http://127.0.0.1:9/",
       "http://127.0.0.1:9/" + "a" * 300 + ".zip", "http://127.0.0.1:9/%ff.zip", "http://127.0.0.1:9/a%0ab.zip",
       "http://u:p@/a.zip", "http://127.0.0.1:9/a%5c..%5cb.zip", "http://" + "a" * 300 + ".invalid/a.zip",
       "http://x..invalid/a.zip", "http://\ud800.invalid/a.zip"]  # fmt: skip


@pytest.mark.parametrize("url", ODD)
def test_odd_addresses_end_in_one_line(tmp_path, url):
    with pytest.raises(IebakerError) as refusal:
        web.download(url, Wanted(), tmp_path, web.Patience(attempts=1, timeout=0.2))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400
    assert kept(tmp_path) == []


@given(st.text(max_size=60))
def test_any_address_has_a_safe_name_or_is_refused(path):
    try:
        name = places.name_of(f"http://host.invalid/{path}")
    except IebakerError:
        return
    assert name and not set(name) & set('/\\:*?"<>|\0') and name not in (".", "..") and len(name.encode()) <= 200


@given(st.text(max_size=40), st.text(max_size=10))
def test_what_is_shown_of_an_address_is_one_printable_line(path, secret):
    shown = places.shown(
        f"https://user:{secret.translate(str.maketrans('', '', '/?#'))}PASS@host.invalid/{path}?k=PASS"
    )
    assert shown.isprintable() and "PASS" not in shown and shown.startswith("https://host.invalid/")
