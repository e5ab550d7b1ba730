"""Replies are kept for good: between threads, between processes, and when one of them is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from longvt_plugins.chat import cache as cache_module
from longvt_plugins.chat.cache import MAX_VALUE_BYTES, ResponseCache
from longvt_plugins.errors import ConfigError

LARGE = 10**9


def key(n):
    return n.to_bytes(32, "big")


def value(n, size=10):
    # Nothing that zlib could make small.
    return {"n": n, "text": os.urandom(size).hex()}


@pytest.fixture
def cache(tmp_path):
    return ResponseCache(tmp_path / "cache", LARGE)


def run_python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


def test_what_was_put_is_got_again_also_by_another_cache_of_the_folder(cache, tmp_path):
    assert cache.get(key(1)) is None
    kept = {"message": {"content": "réd \U0001f534", "tool_calls": [{"x": None}]}, "tokens": 3}
    cache.put(key(1), kept)
    assert cache.get(key(1)) == kept
    assert ResponseCache(tmp_path / "cache", LARGE).get(key(1)) == kept


def test_it_opens_again_after_closing(cache):
    cache.put(key(1), {"a": 1})
    cache.close()
    cache.close()
    assert cache.get(key(1)) == {"a": 1}


def test_what_was_not_used_for_longest_goes_when_the_cache_is_full(tmp_path, monkeypatch):
    now = 1_000_000
    monkeypatch.setattr(cache_module.time, "time", lambda: now)
    cache = ResponseCache(tmp_path, 400_000)
    for n in range(400):
        now += 4000
        if n > 10:
            assert cache.get(key(10)) is not None  # used all the time
        cache.put(key(n), value(n, 1000))
        assert cache.path.stat().st_size < 800_000
    assert cache.get(key(10))["n"] == 10
    assert cache.get(key(399))["n"] == 399
    assert cache.get(key(11)) is None
    left = sum(cache.get(key(n)) is not None for n in range(400))
    assert 50 < left < 200


def test_a_reply_that_is_too_large_is_left_out(cache):
    cache.put(key(1), {"text": "x" * MAX_VALUE_BYTES})
    assert cache.get(key(1)) is None


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"not packed",
        zlib.compress(b"not json"),
        zlib.compress(b"[1, 2]"),
        zlib.compress(b'{"a": 1}')[:-2],
        zlib.compress(b'{"a": "' + b"x" * MAX_VALUE_BYTES + b'"}'),
        b"\x80\x04\x95",
        "text",
        7,
    ],
)
def test_bytes_of_somebody_else_are_no_reply_and_are_removed(cache, stored):
    with sqlite3.connect(cache.path) as other:
        other.execute("INSERT INTO replies VALUES (?, ?, 0)", (key(1), stored))
    assert cache.get(key(1)) is None
    with sqlite3.connect(cache.path) as other:
        assert other.execute("SELECT count(*) FROM replies").fetchone() == (0,)


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "replies-v1.sqlite3"
    file.write_bytes(b"this is a text about databases, and long enough to be seen as none" * 100)
    with pytest.raises(ConfigError, match=r"cache_dir: .*replies-v1\.sqlite3 cannot be used: .*delete the file"):
        ResponseCache(tmp_path, LARGE)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cache_dir"):
        ResponseCache(tmp_path / "file" / "cache", LARGE)


def test_a_file_that_breaks_later_is_an_error_of_the_file(cache):
    cache.close()
    cache.path.write_bytes(b"garbage" * 1000)
    with pytest.raises(OSError, match="replies-v1"):
        cache.get(key(1))
    with pytest.raises(OSError, match="replies-v1"):
        cache.put(key(1), {"a": 1})


def test_threads_share_one_cache(cache):
    def work(start):
        for n in range(start, start + 50):
            cache.put(key(n), value(n))
            assert cache.get(key(n))["n"] == n

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [100 * n for n in range(8)]))
    assert sum(cache.get(key(n)) is not None for n in range(800)) == 400


def test_a_short_reply_is_kept_at_once_where_that_takes_no_waiting(cache):
    assert cache.has_none(key(2))
    assert cache.put_at_once(key(2), {"b": "\U0001f534"})
    assert cache.get(key(2)) == {"b": "\U0001f534"}
    assert (cache.has_none(key(2)), cache.has_none(key(3))) == (False, True)
    assert not cache.put_at_once(key(3), {"text": "x" * 20_000}), "that takes a while"
    assert cache.get(key(3)) is None


def test_nobody_is_waited_for_to_keep_a_reply_or_to_know_of_none(cache):
    cache.put(key(1), {"a": 1})
    with cache._lock:
        assert not cache.put_at_once(key(2), {"a": 2})
        assert not cache.has_none(key(2)), "not known at once is not none"
    with closing(sqlite3.connect(cache.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not cache.put_at_once(key(2), {"a": 2})
        assert cache.has_none(key(2)), "reading waits for no writer"
    assert cache.put_at_once(key(2), {"a": 2})
    cache.close()
    assert not cache.put_at_once(key(3), {"a": 3})
    assert not cache.has_none(key(3))


def test_the_file_is_tidied_however_many_replies_are_kept_at_once(cache):
    cache.put(key(0), value(0))
    log = cache.path.with_name(f"{cache.path.name}-wal")
    sizes = []
    for n in range(1, 4000):
        if not cache.put_at_once(key(n), value(n, 3000)):
            cache.put(key(n), value(n, 3000))
            sizes.append(log.stat().st_size)
    assert len(sizes) > 10
    assert max(sizes) < 16e6
    assert all(cache.get(key(n)) is not None for n in range(4000))


WRITER = """
import sys
from longvt_plugins.chat.cache import ResponseCache
folder, start, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
cache = ResponseCache(folder, 10**9)
for n in range(start, start + count):
    cache.put(n.to_bytes(32, "big"), {"n": n, "text": "x" * 2000})
    assert cache.get(n.to_bytes(32, "big"))["n"] == n
    if n == start + 20:
        print("under way", flush=True)
"""


def test_processes_share_one_cache_from_its_first_moment_on(tmp_path):
    writers = [run_python(WRITER, tmp_path / "cache", 1000 * n, 100, stdout=subprocess.DEVNULL) for n in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    cache = ResponseCache(tmp_path / "cache", LARGE)
    assert all(cache.get(key(1000 * n + m))["n"] == 1000 * n + m for n in range(3) for m in range(100))


def test_a_process_that_is_killed_while_it_writes_leaves_whole_replies_only(cache, tmp_path):
    for round_number in range(3):
        writer = run_python(WRITER, tmp_path / "cache", 10_000 * round_number, 10_000, stdout=subprocess.PIPE)
        assert writer.stdout.readline() == "under way\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        writer.stdout.close()
        kept = [n for n in range(10_000 * round_number, 10_000 * (round_number + 1)) if cache.get(key(n)) is not None]
        assert len(kept) >= 20
        assert all(cache.get(key(n)) == {"n": n, "text": "x" * 2000} for n in kept)
    with sqlite3.connect(cache.path) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_the_file_for_itself(cache):
    cache.put(key(1), {"a": 1})
    child = os.fork()
    if child == 0:
        fault = 1
        try:
            assert not cache.put_at_once(key(2), {"a": 2})
            cache.put(key(2), {"a": 2})
            fault = int(cache.get(key(1)) != {"a": 1})
        finally:
            os._exit(fault)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get(key(2)) == {"a": 2}
