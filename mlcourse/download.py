"""Mirrors and a digest into the content of a verified file.

Looked at in this order: the folder named in the environment variable MLCOURSE_DATA, the cache, the mirrors.

What lies in the cache under a file's own name is whole and verified: bytes are gathered in a `.part` file
beside it (one for each mirror, since mirrors may compress differently), which is renamed when its content
has the right digest. A download that was cut off, or killed, goes on from its `.part` file. Several
processes that want one file download it once: the first holds a lock, which the operating system takes back
when the process ends.
"""

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import platformdirs
from tqdm import tqdm

from mlcourse.errors import DownloadError

VARIABLE = "MLCOURSE_DATA"
TRIES = 5  # per mirror, as long as each brings at least LITTLE
LITTLE = 1000  # bytes; less within `timeout` seconds counts as a stall


class Published(NamedTuple):
    """A file as it was published.

    path: where it lies in a data folder, with `/`, for example "mnist/train-labels-idx1-ubyte.gz".
    urls: its mirrors, the one to try first in front.
    sha256, size: of the content after decompression, so that it does not matter how it was compressed.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str
    size: int


class _Failed(Exception):
    """One try at one mirror; the text says what happened."""


def fetch(
    published: Published, *, folder: str | os.PathLike | None = None, timeout: float = 20.0, patience: float = 600.0
) -> bytes:
    """The content of a published file, decompressed and verified.

    Args:
        published: path, mirrors, digest and size.
        folder: the cache; by default this user's cache folder (`platformdirs.user_cache_dir("mlcourse")`).
        timeout: seconds without data (or with next to none) after which a mirror is given up.
        patience: seconds to wait for another process that is downloading to the same folder.

    Returns:
        `published.size` bytes whose SHA-256 is `published.sha256`.

    Raises:
        DownloadError: no mirror gave the file, the cache can't be written, or a file that is already there is
            damaged. Such a file is named and left alone.

    >>> import hashlib, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "three.txt").write_bytes(b"abc")
    >>> fetch(Published("three.txt", (), hashlib.sha256(b"abc").hexdigest(), size=3), folder=folder)
    b'abc'
    >>> fetch(Published("three.txt", (), hashlib.sha256(b"abd").hexdigest(), size=3), folder=folder)
    Traceback (most recent call last):
    mlcourse.errors.DownloadError: ...three.txt is damaged: ...
    """
    cache = Path(folder) if folder is not None else Path(platformdirs.user_cache_dir("mlcourse", appauthor=False))
    for place in [*_given_folder(), cache]:
        if (place / published.path).exists():
            return _read(place / published.path, published)
    target = cache / published.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target.parent / ".lock", patience) as locked:
            if target.exists():  # another process downloaded it while this one waited
                return _read(target, published)
            return _download(published, target, timeout, keep_parts=locked)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"can't write to the cache folder {target.parent}: {error.strerror or error}. Make it writable "
            "or make room, name another one with `folder=...`, or set "
            f"{VARIABLE} to a folder that holds {published.path}."
        ) from error


def _given_folder() -> list[Path]:
    """The folder that MLCOURSE_DATA names, if it names one."""
    name = os.environ.get(VARIABLE)
    if not name:
        return []
    if not Path(name).is_dir():
        raise DownloadError(f"{VARIABLE}={name!r} is not a folder. Correct it, or unset it to use the cache.")
    return [Path(name)]


def _read(path: Path, published: Published) -> bytes:
    """The verified content of a file that is already there."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DownloadError(f"{path} can't be read: {error.strerror}. Make it readable, or move it away.") from error
    content = _content(raw, published)
    if content is None:
        raise DownloadError(
            f"{path} is damaged: {_difference(raw, published)}. It was left as it is. Remove or replace it, then load again."
        )
    return content


def _content(raw: bytes, published: Published) -> bytes | None:
    """The decompressed bytes, or None where they are not the published ones."""
    content = raw
    if raw.startswith(b"\x1f\x8b"):  # gzip, whatever the name says: browsers and proxies like to unpack it
        try:
            content = zlib.decompressobj(wbits=31).decompress(raw, published.size + 1)  # never more: no gzip bombs
        except zlib.error:
            return None
    return content if hashlib.sha256(content).hexdigest() == published.sha256 else None


def _difference(raw: bytes, published: Published) -> str:
    return (
        f"its {len(raw):,} bytes, which begin with {raw[:15]!r}, do not hold the {published.size:,} bytes "
        f"of content with SHA-256 {published.sha256[:12]}..."
    )


@contextlib.contextmanager
def _only_one(path: Path, patience: float) -> Iterator[bool]:
    """Holds the lock in the file `path`; gives False where the file system has no locks."""
    deadline = time.monotonic() + patience
    with open(path, "a") as file:  # closing it gives the lock back
        try:
            while not _take_lock(file):
                if time.monotonic() > deadline:
                    raise DownloadError(
                        f"waited {patience:g} s for another process that is downloading to {path.parent} and "
                        f"holds {path}. Let it finish or end it, or use another cache with `folder=...`."
                    )
                time.sleep(0.1)
            locked = True
        except DownloadError:
            raise
        except OSError:
            locked = False
        yield locked


def _take_lock(file: IO) -> bool:
    """Whether this process now holds the lock. OSError where the file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what POSIX and Windows say of a lock that someone else holds
        return False
    return True


def _download(published: Published, target: Path, timeout: float, *, keep_parts: bool) -> bytes:
    """The content from the first mirror that gives it, kept as `target`.

    The `.part` files are kept for the next try. Without a lock they can't be shared: `keep_parts=False` gives
    them names of their own and removes them.
    """
    owner = "" if keep_parts else f".{os.getpid()}"
    parts = {
        url: target.with_name(f"{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}{owner}.part")
        for url in published.urls
    }
    failures = []
    try:
        for url, part in parts.items():
            for _ in range(TRIES):
                before = _size(part)
                try:
                    _receive(url, part, published, timeout)
                except _Failed as failure:
                    reason = str(failure)
                    again = _size(part) >= before + LITTLE  # it brought something: go on from there
                else:
                    raw = part.read_bytes()
                    content = _content(raw, published)
                    if content is not None:
                        os.replace(part, target)
                        keep_parts = False  # what other mirrors began is of no use now
                        return content
                    reason = f"the wrong content: {_difference(raw, published)}"
                    part.unlink()
                    again = before > 0  # the old beginning may be what was wrong: once more, from the start
                if not again:
                    break
            failures.append(f"  {url}: {reason}")
    finally:
        if not keep_parts:
            for part in parts.values():
                part.unlink(missing_ok=True)
    given = os.environ.get(VARIABLE)
    now = f" (now it is {given}, which lacks it)" if given else ""
    raise DownloadError(
        "\n".join([f"could not download {published.path}:", *failures])
        + "\nCheck the network and load again (it goes on where it stopped); "
        f"or fetch the file by hand to {target}; "
        f"or set {VARIABLE} to a folder that holds {published.path}{now}."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, published: Published, timeout: float) -> None:
    """Asks for what `part` still lacks and adds what comes. Raises _Failed unless the server sent all."""
    response = _ask(url, _size(part), timeout)
    if response is None:
        return
    with response, open(part, "ab") as file:
        got = _start(response, _size(part))
        file.truncate(got)  # to nothing, where the server ignored the range and sends the file from its start
        total = got + response.length if response.length is not None else None
        limit = published.size + 100_000  # compression makes a file longer by next to nothing
        window_start, window_bytes = time.monotonic(), 0
        bar = {"desc": published.path, "initial": got, "total": total, "unit": "B", "unit_scale": True}
        with tqdm(**bar, disable=None, leave=False) as progress:  # None: only on a terminal
            while chunk := _next_bytes(response, got, timeout):
                file.write(chunk)
                progress.update(len(chunk))
                got += len(chunk)
                window_bytes += len(chunk)
                if got > limit:
                    file.truncate(0)
                    raise _Failed(f"it sent more than {limit:,} bytes, which can't be this file")
                if time.monotonic() - window_start > timeout:
                    if window_bytes < LITTLE:
                        raise _Failed(f"only {window_bytes:,} bytes in {timeout:g} s, {got:,} in all")
                    window_start, window_bytes = time.monotonic(), 0
        file.flush()
        os.fsync(file.fileno())  # before it gets its final name, so that a power cut can't leave an empty file
    if total is not None and got < total:
        raise _Failed(f"the connection closed after {got:,} of {total:,} bytes")


def _ask(url: str, have: int, timeout: float) -> http.client.HTTPResponse | None:
    """The server's answer to a request for the bytes from `have` on; None where it says that there are none."""
    headers = {"User-Agent": "mlcourse", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return None  # the part is whole, or is of another file, which its digest tells
        raise _Failed(f"HTTP {error.code} ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(_network_words(error, timeout)) from None


def _next_bytes(response: http.client.HTTPResponse, got: int, timeout: float) -> bytes:
    try:
        return response.read1(1 << 16)
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(f"{_network_words(error, timeout)} after {got:,} bytes") from None


def _start(response: http.client.HTTPResponse, have: int) -> int:
    """The offset of the first byte that the server sends."""
    if response.status != 206:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) > have:
        raise _Failed(f"asked for the bytes from {have:,} on, it sent {response.headers.get('Content-Range')!r}")
    return int(found[1])


def _network_words(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no data for {timeout:g} s"
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
