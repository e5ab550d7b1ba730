"""Parts of frames that a tool showed come back as parts when a stored conversation is trained on."""

import numpy as np

from longvt_plugins import VideoLibrary
from longvt_plugins.rollouts import to_references
from longvt_plugins.testing import call_tool, images
from longvt_plugins.tools.crop_video import crop_video
from longvt_plugins.tools.zoom_region import zoom_region
from trl_ext.dataset.frames import with_frames


def test_a_zoomed_part_and_whole_frames_of_one_video_come_back_as_they_were_shown(video):
    zoomed = call_tool(zoom_region, video, timestamp=4, bbox=[110, 200, 700, 910])
    cropped = call_tool(crop_video, video, start_time=4, end_time=6)
    stored = to_references([{"role": "tool", "content": zoomed}, {"role": "tool", "content": cropped}])

    with VideoLibrary() as library:
        messages = with_frames(stored, {"video_1.mp4": str(video)}, library, where="test")
    shown = [block["image"] for block in images([*zoomed, *cropped])]
    again = [block["image"] for message in messages for block in images(message["content"])]
    assert [image.size for image in again] == [image.size for image in shown]
    assert all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(again, shown, strict=True))
