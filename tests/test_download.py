"""`fetch` against a real server on the loopback interface that does what bad servers do."""

import errno
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mlcourse import download
from mlcourse.download import Published, fetch
from mlcourse.errors import DownloadError

CONTENT = np.random.default_rng(0).integers(0, 64, 300_000, dtype=np.uint8).tobytes()
PACKED = gzip.compress(CONTENT, compresslevel=6, mtime=0)
PACKED_OTHERWISE = gzip.compress(CONTENT, compresslevel=1, mtime=1)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "set/numbers.gz"


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how to answer."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        how = self.path.split("/")[1]
        how = self.server.now if how == "now" else how
        asked = self.headers.get("Range")
        self.server.seen.append((how, asked))
        try:
            getattr(self, how)(int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0)
        except ConnectionError:
            pass  # the client gave up first

    def head(self, body, start=0, status=None):
        self.send_response(status or (206 if start else 200))
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()

    def good(self, start, body=PACKED):
        if start >= len(body):
            return self.send_error(416)
        self.head(body, start)
        self.wfile.write(body[start:])

    def packed_otherwise(self, start):
        self.good(start, PACKED_OTHERWISE)

    def unpacked(self, start):
        self.good(start, CONTENT)

    def ignores_range(self, start):
        self.good(0)

    def no_length(self, start):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PACKED)

    def missing(self, start):
        self.send_error(404)

    def no_ranges_at_all(self, start):
        self.send_error(416) if start else self.good(0)

    def wrong_range(self, start):
        if not start:
            return self.truncates(0)
        self.head(PACKED, start + 7)
        self.wfile.write(PACKED[start + 7 :])

    def truncates(self, start):  # at most a third at a time
        self.head(PACKED, start)
        self.wfile.write(PACKED[start : start + len(PACKED) // 3 + 1])

    def truncates_and_ignores_range(self, start):
        self.truncates(0)

    def corrupts(self, start):
        self.good(start, PACKED[:1000] + bytes([PACKED[1000] ^ 1]) + PACKED[1001:])

    def log_in_page(self, start):
        self.good(0, b"<!DOCTYPE html><title>Log in to this network</title>")

    def stalls(self, start):  # never sends more than the first 50,000 bytes
        self.head(PACKED, start)
        self.wfile.write(PACKED[start:50_000])
        self.wfile.flush()
        self.server.end.wait(20)

    def silent(self, start):
        self.server.end.wait(20)

    def drips(self, start):
        self.head(PACKED, start)
        for i in range(start, start + 60):
            self.wfile.write(PACKED[i : i + 1])
            self.wfile.flush()
            self.server.end.wait(0.02)

    def endless(self, start):
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(bytes(1 << 16))

    def waits(self, start):
        self.server.go.wait(20)
        self.good(start)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", download.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.seen, server.now, server.end, server.go = [], "good", threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.end.set()
    server.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def numbers(server, *hows):
    urls = tuple(f"http://127.0.0.1:{server.server_port}/{how}/{NAME}" for how in hows)
    return Published(NAME, urls, DIGEST, len(CONTENT))


def get(server, *hows, folder, **options):
    timeout = 0.5 if {"stalls", "silent", "drips"} & set(hows) else 10  # long, so that a busy machine changes nothing
    return fetch(numbers(server, *hows), folder=folder, timeout=timeout, **options)


def left_in(folder):
    return sorted(path.name for path in (folder / "set").iterdir() if path.name != ".lock")


def part_of(folder, url):
    return folder / f"{NAME}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"


@pytest.mark.parametrize("how", ["good", "packed_otherwise", "unpacked", "no_length", "ignores_range"])
def test_a_file_is_downloaded_once_and_then_comes_from_the_cache(server, tmp_path, how):
    assert get(server, how, folder=tmp_path) == CONTENT
    assert get(server, how, folder=tmp_path) == CONTENT
    assert server.seen == [(how, None)]
    assert left_in(tmp_path) == ["numbers.gz"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", r"HTTP 404 \(Not Found\)"),
        ("truncates_and_ignores_range", r"the connection closed after [\d,]+ of [\d,]+ bytes"),
        ("corrupts", "the wrong content: its .* bytes, which begin with .*, do not hold the 300,000 bytes"),
        ("log_in_page", "the wrong content: .* begin with b'<!DOCTYPE html>'"),
        ("stalls", r"no data for 0.5 s after [\d,]+ bytes"),
        ("silent", r"no data for 0.5 s$"),
        ("drips", r"only \d+ bytes in 0.5 s"),
        ("endless", "it sent more than 400,000 bytes"),
        ("wrong_range", r"asked for the bytes from [\d,]+ on, it sent 'bytes "),
    ],
)
def test_a_bad_mirror_is_named_with_what_it_did_and_no_file_appears(server, tmp_path, how, said):
    with pytest.raises(DownloadError) as caught:
        get(server, how, folder=tmp_path)
    assert re.search(rf"/{how}/set/numbers.gz: {said}", str(caught.value), re.MULTILINE)
    assert "numbers.gz" not in left_in(tmp_path)
    assert all(path.stat().st_size <= len(PACKED) for path in (tmp_path / "set").iterdir())


@pytest.mark.parametrize("how", ["missing", "truncates_and_ignores_range", "corrupts", "silent", "endless"])
def test_when_the_first_mirror_fails_the_second_is_asked(server, tmp_path, how):
    assert get(server, how, "packed_otherwise", folder=tmp_path) == CONTENT
    assert server.seen[-1] == ("packed_otherwise", None)
    assert len(server.seen) <= 3  # a mirror that brings nothing new is not asked again and again
    assert left_in(tmp_path) == ["numbers.gz"]


def test_a_mirror_that_is_down_is_passed_over(server, tmp_path):
    good = numbers(server, "good")
    down = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = down.server_port
    down.server_close()
    published = good._replace(urls=(f"http://127.0.0.1:{port}/x", *good.urls))
    assert fetch(published, folder=tmp_path, timeout=10) == CONTENT


def test_the_error_names_every_mirror_and_three_cures(server, tmp_path, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    monkeypatch.setenv("MLCOURSE_DATA", str(given))
    with pytest.raises(DownloadError) as caught:
        get(server, "missing", "corrupts", folder=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "could not download set/numbers.gz:"
    assert "/missing/" in lines[1] and "/corrupts/" in lines[2]
    assert "load again" in lines[3] and f"by hand to {tmp_path / NAME}" in lines[3]
    assert f"MLCOURSE_DATA to a folder that holds {NAME} (now it is {given}, which lacks it)" in lines[3]


def test_a_cut_connection_is_taken_up_where_it_ended(server, tmp_path):
    assert get(server, "truncates", folder=tmp_path) == CONTENT
    third = len(PACKED) // 3 + 1
    assert server.seen == [
        ("truncates", None),
        ("truncates", f"bytes={third}-"),
        ("truncates", f"bytes={2 * third}-"),
    ]


@pytest.mark.parametrize("how", ["good", "ignores_range", "no_ranges_at_all"])
def test_a_part_of_an_earlier_download_is_used_or_replaced(server, tmp_path, how):
    published = numbers(server, how)
    (tmp_path / "set").mkdir()
    part_of(tmp_path, published.urls[0]).write_bytes(PACKED[:1234])
    assert fetch(published, folder=tmp_path, timeout=10) == CONTENT
    again = [(how, None)] if how == "no_ranges_at_all" else []
    assert server.seen == [(how, "bytes=1234-"), *again]
    assert left_in(tmp_path) == ["numbers.gz"]


def test_a_part_that_was_already_whole_needs_only_a_416(server, tmp_path):
    published = numbers(server, "good")
    (tmp_path / "set").mkdir()
    part_of(tmp_path, published.urls[0]).write_bytes(PACKED)
    assert fetch(published, folder=tmp_path, timeout=10) == CONTENT
    assert server.seen == [("good", f"bytes={len(PACKED)}-")]


def test_a_part_with_a_wrong_beginning_costs_one_more_download_from_the_start(server, tmp_path):
    published = numbers(server, "good")
    (tmp_path / "set").mkdir()
    part_of(tmp_path, published.urls[0]).write_bytes(b"x" * 5000)
    assert fetch(published, folder=tmp_path, timeout=10) == CONTENT
    assert server.seen == [("good", "bytes=5000-"), ("good", None)]


def test_a_mirror_never_goes_on_with_the_bytes_of_another(server, tmp_path):
    assert get(server, "stalls", "packed_otherwise", folder=tmp_path) == CONTENT
    assert server.seen[-1] == ("packed_otherwise", None)
    assert (tmp_path / NAME).read_bytes() == PACKED_OTHERWISE


FETCH = """
import sys
from mlcourse.download import Published, fetch
print("ready", flush=True)
url, folder, digest, size = sys.argv[1:]
content = fetch(Published("set/numbers.gz", (url,), digest, int(size)), folder=folder, timeout=20)
print(len(content))
"""


def start_process(published, folder):
    arguments = [sys.executable, "-c", FETCH, *published.urls, str(folder), published.sha256, str(published.size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_a_killed_download_leaves_no_file_and_the_next_one_goes_on_from_there(server, tmp_path):
    published = numbers(server, "now")
    server.now = "stalls"
    process = start_process(published, tmp_path)
    part = part_of(tmp_path, published.urls[0])
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert left_in(tmp_path) == [part.name]
    kept = part.stat().st_size
    server.now = "good"
    assert fetch(published, folder=tmp_path, timeout=10) == CONTENT
    assert server.seen[-1] == ("good", f"bytes={kept}-")
    assert left_in(tmp_path) == ["numbers.gz"]


def test_processes_that_want_one_file_at_once_download_it_once(server, tmp_path):
    processes = [start_process(numbers(server, "waits"), tmp_path) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    time.sleep(0.2)  # all are now in `fetch`
    server.go.set()
    assert [process.communicate()[0] for process in processes] == [f"{len(CONTENT)}\n"] * 3
    assert server.seen == [("waits", None)]


def test_waiting_for_another_process_ends_with_an_error(server, tmp_path):
    (tmp_path / "set").mkdir()
    with open(tmp_path / "set" / ".lock", "w") as file:
        assert download._take_lock(file)
        with pytest.raises(DownloadError, match=r"waited 0.1 s for another process .*\.lock\. Let it finish or end it"):
            get(server, "good", folder=tmp_path, patience=0.1)
    assert get(server, "good", folder=tmp_path, patience=0.1) == CONTENT


@pytest.mark.parametrize("how", ["good", "stalls"])
def test_without_file_locks_each_process_has_its_own_part_and_leaves_none(server, tmp_path, monkeypatch, how):
    def no_locks(file):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / "set").mkdir()
    shared = part_of(tmp_path, numbers(server, how).urls[0])
    shared.write_bytes(b"x" * 5000)  # another process may be at it
    monkeypatch.setattr(download, "_take_lock", no_locks)
    if how == "good":
        assert get(server, how, folder=tmp_path) == CONTENT
    else:
        with pytest.raises(DownloadError, match="no data for 0.5 s"):
            get(server, how, folder=tmp_path)
    assert server.seen[0] == (how, None)
    assert left_in(tmp_path) == (["numbers.gz"] if how == "good" else []) + [shared.name]


def test_the_folder_in_mlcourse_data_comes_first(server, tmp_path, monkeypatch):
    for place, packed in (("given", PACKED), ("cache", b"damaged")):
        (tmp_path / place / "set").mkdir(parents=True)
        (tmp_path / place / NAME).write_bytes(packed)
    monkeypatch.setenv("MLCOURSE_DATA", str(tmp_path / "given"))
    assert get(server, "good", folder=tmp_path / "cache") == CONTENT
    assert server.seen == []


def test_what_mlcourse_data_lacks_goes_to_the_cache_and_the_folder_stays_as_it_is(server, tmp_path, monkeypatch):
    (tmp_path / "given").mkdir()
    monkeypatch.setenv("MLCOURSE_DATA", str(tmp_path / "given"))
    assert get(server, "good", folder=tmp_path / "cache") == CONTENT
    assert list((tmp_path / "given").iterdir()) == []


def test_mlcourse_data_must_be_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCOURSE_DATA", str(tmp_path / "typo"))
    with pytest.raises(DownloadError, match="MLCOURSE_DATA='.*typo' is not a folder. Correct it, or unset it"):
        fetch(Published(NAME, (), DIGEST, len(CONTENT)), folder=tmp_path)


def test_the_cache_is_the_users_cache_folder_by_default(server, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, appauthor: str(tmp_path / name))
    assert fetch(numbers(server, "good"), timeout=10) == CONTENT
    assert (tmp_path / "mlcourse" / NAME).read_bytes() == PACKED


@pytest.mark.parametrize(
    "damaged",
    [
        PACKED[:-5000],
        PACKED[:500] + b"?" + PACKED[501:],
        b"",
        gzip.compress(CONTENT + b"more"),
        gzip.compress(CONTENT[:-1]),
        b"\x1f\x8b",
    ],
    ids=["cut short", "one byte changed", "empty", "longer content", "shorter content", "only the magic number"],
)
@pytest.mark.parametrize("where", ["MLCOURSE_DATA", "cache"])
def test_a_damaged_file_is_named_and_left_alone(server, tmp_path, monkeypatch, where, damaged):
    path = tmp_path / NAME
    path.parent.mkdir()
    path.write_bytes(damaged)
    if where == "MLCOURSE_DATA":
        monkeypatch.setenv("MLCOURSE_DATA", str(tmp_path))
    said = rf"numbers.gz is damaged: its {len(damaged):,} bytes.*{DIGEST[:12]}.*left as it is. Remove or replace it"
    with pytest.raises(DownloadError, match=said):
        get(server, "good", folder=tmp_path)
    assert path.read_bytes() == damaged
    assert server.seen == []


def test_a_file_that_cannot_be_read_is_named(server, tmp_path):
    (tmp_path / NAME).mkdir(parents=True)
    with pytest.raises(DownloadError, match="numbers.gz can't be read: .*Make it readable, or move it away"):
        get(server, "good", folder=tmp_path)


def test_a_cache_that_cannot_be_written_is_named_with_its_cures(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = r"can't write to the cache folder .*file.set: .*Make it writable.*`folder=\.\.\.`.*MLCOURSE_DATA"
    with pytest.raises(DownloadError, match=said):
        get(server, "good", folder=tmp_path / "file")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_an_error_of_the_cache_and_the_file_appears_only_by_renaming(server, tmp_path, monkeypatch, call):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, call, full)
    with pytest.raises(DownloadError, match="can't write to the cache .*No space left on device.*make room"):
        get(server, "good", "good", folder=tmp_path)
    assert len(server.seen) == 1 and "numbers.gz" not in left_in(tmp_path)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_there_is_a_progress_bar_on_a_terminal_only(server, tmp_path, monkeypatch, is_terminal):
    screen = io.StringIO()
    screen.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", screen)
    get(server, "good", folder=tmp_path)
    assert ("set/numbers.gz" in screen.getvalue()) == is_terminal
