"""Files that are whole or not there: after a full disk, an exception and a kill in the middle."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from mlcourse.files import write_whole


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch, call):
    write_whole(tmp_path / "a.json", "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_a_kill_before_the_end_leaves_the_old_file(tmp_path):
    write_whole(tmp_path / "a.bin", b"old")
    code = (
        "import os, signal, sys; from mlcourse.files import write_whole\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(sys.argv[1], b'new')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_text_is_written_as_it_is(tmp_path):
    write_whole(tmp_path / "a.txt", "é\r\nx\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\r\nx\n".encode()
