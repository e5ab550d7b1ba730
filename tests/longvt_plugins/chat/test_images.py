"""Encoded images are kept: what is equal is encoded once, what is different never taken for it."""

from PIL import Image

from longvt_plugins.chat.images import ImageUrls
from longvt_plugins.chat.wire import encode_image

RED, BLUE = (Image.new("RGB", (28, 28), colour) for colour in ("red", "blue"))


def test_equal_pixels_have_the_url_that_encoding_them_gives_and_are_encoded_once():
    urls = ImageUrls("jpeg")
    first = urls(RED)
    assert first == encode_image(RED, "jpeg")
    assert urls(RED.copy()) is first


def test_images_that_look_different_have_urls_of_their_own():
    urls = ImageUrls("png")
    assert len({urls(RED), urls(BLUE), urls(RED.convert("L")), urls(RED.resize((28, 56)))}) == 4


def test_what_was_not_used_for_longest_goes_first():
    size = len(encode_image(RED, "jpeg"))
    urls = ImageUrls("jpeg", max_bytes=2 * size)
    red, _ = urls(RED), urls(BLUE)
    assert urls(RED) is red
    urls(Image.new("RGB", (28, 28), "green"))
    assert urls.bytes <= 2 * size
    assert urls(RED) is red


def test_an_image_that_is_larger_than_all_room_is_encoded_each_time():
    urls = ImageUrls("jpeg", max_bytes=1)
    assert urls(RED) == urls(RED)
    assert urls.bytes == 0


def test_an_image_that_was_drawn_on_meanwhile_is_another_one():
    urls, image = ImageUrls("jpeg"), RED.copy()
    before = urls(image)
    image.paste("blue", (0, 0, 14, 28))
    assert urls(image) not in (before, urls(BLUE))
