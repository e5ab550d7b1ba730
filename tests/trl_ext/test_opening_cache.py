"""The cache of openings: bounded, and it never hands out what it keeps."""

from PIL import Image

from trl_ext.opening_cache import OpeningCache, file_identities


def opening(side: int = 10) -> list:
    return [{"type": "text", "text": "0s"}, {"type": "image", "image": Image.new("RGB", (side, side))}]


def test_what_is_kept_is_not_made_again():
    cache = OpeningCache(max_entries=2, max_bytes=1000)
    made = []
    for _ in range(3):
        cache.get("a", lambda: made.append(1) or opening())
    assert len(made) == 1


def test_the_least_recently_used_leaves_first():
    cache = OpeningCache(max_entries=2, max_bytes=10_000)
    for key in ("a", "b", "a", "c"):
        cache.get(key, opening)
    made = []
    cache.get("a", lambda: made.append("a") or opening())
    cache.get("b", lambda: made.append("b") or opening())
    assert made == ["b"]


def test_pixels_are_bounded_and_one_that_is_too_large_is_not_kept():
    cache = OpeningCache(max_entries=100, max_bytes=700)
    for key in range(5):
        cache.get(key, opening)
    assert (len(cache), cache.bytes) == (2, 600)
    cache.get("large", lambda: opening(side=100))
    assert (len(cache), cache.bytes) == (2, 600)


def test_without_a_key_or_without_room_nothing_is_kept():
    cache = OpeningCache(max_entries=0, max_bytes=1000)
    cache.get("a", opening)
    assert len(cache) == 0
    cache = OpeningCache(max_entries=1, max_bytes=1000)
    cache.get(None, opening)
    assert len(cache) == 0


def test_a_file_that_is_gone_has_no_identity(tmp_path):
    (tmp_path / "a").write_text("x")
    assert file_identities([tmp_path / "a"]) is not None
    assert file_identities([tmp_path / "a", tmp_path / "b"]) is None
