"""200 attempts to reach what a rollout does not own: through training, the agent loop, MCP and ``ask``.

Nothing outside is opened (the kernel is asked, by inotify), nobody is called over the network, the process lives, and
the model reads one clear line each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
import struct
import threading

import pytest

from longvt_plugins.agent import AgentConfig, run_agent
from longvt_plugins.asking import Asker
from longvt_plugins.asking.models import OpenedModel
from longvt_plugins.chat import Completion
from longvt_plugins.mcp_server.folders import VideoFolders
from longvt_plugins.mcp_server.server import ServerConfig, ToolServer
from longvt_plugins.testing import plugin_manager, write_stamped_video
from longvt_plugins.video.sampling import FrameSampling
from trl_ext.environment import EnvironmentConfig, make_environment

TOOLS = ("crop_video:fps", "get_frames", "zoom_region", "search_subtitles", "search_captions")
NAME = "video_1.mp4"
SMALL = FrameSampling(max_frames=2, max_pixels=28 * 28)
LONGEST_LINE = 1500
"""Characters; every refusal quotes at most a few short pieces of what the model wrote."""

GOOD = {
    "crop_video": {"start_time": 1, "end_time": 2},
    "get_frames": {"timestamps": [1]},
    "zoom_region": {"timestamp": 1, "bbox": [0, 0, 500, 500]},
    "search_subtitles": {"query": "secret"},
    "search_captions": {"query": "secret"},
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """``inside``, which a rollout may read, with traps in it; and ``outside``, with a secret."""
    ground = tmp_path_factory.mktemp("ground")
    inside, outside = ground / "inside", ground / "outside"
    inside.mkdir()
    outside.mkdir()
    write_stamped_video(outside / "secret.mp4", 4)
    (outside / "secret.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nsecret words\n")
    (outside / "secret.captions.jsonl").write_text('{"start": 0, "end": 1, "caption": "secret words"}\n')
    shutil.copy(outside / "secret.mp4", inside / "video.mp4")

    links = {
        "link.mp4": outside / "secret.mp4",
        "relative.mp4": "../outside/secret.mp4",
        "folder": outside,
        "up": "..",
        "loop.mp4": "loop.mp4",
        "dangling.mp4": outside / "missing.mp4",
        "zero.mp4": "/dev/zero",
        "stdin.mp4": "/dev/stdin",
        "proc.mp4": "/proc/self/mem",
        # What lies beside a video is read too.
        "video.srt": outside / "secret.srt",
        "video.captions.jsonl": outside / "secret.captions.jsonl",
    }
    for name, target in links.items():
        (inside / name).symlink_to(target)
    os.mkfifo(inside / "pipe.mp4")
    return ground


@pytest.fixture(scope="module")
def caller():
    """Port of this machine, and how often it was called."""
    listener = socket.create_server(("127.0.0.1", 0))
    calls = []

    def answer():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                calls.append(connection.getpeername())
                connection.close()

    threading.Thread(target=answer, daemon=True).start()
    yield listener.getsockname()[1], calls
    listener.close()


def write_playlists(inside, secret, port):
    """Files that name other files, under names of their own kind and under those of videos."""
    web = f"http://127.0.0.1:{port}/secret.mp4"
    texts = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{secret}\n#EXTINF:4,\n{web}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\nfile '{web}'\n",
        "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" bandwidth="1"><BaseURL>file://{secret}</BaseURL><SegmentBase/></Representation>'
        "</AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "pls": f"[playlist]\nFile1=file://{secret}\nNumberOfEntries=1\n",
        "asx": f'<asx version="3.0"><entry><ref href="{web}"/></entry></asx>',
        "smil": f'<smil><body><video src="{web}"/></body></smil>',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{web}"/></svg>',
        "xspf": f"<playlist><trackList><track><location>file://{secret}</location></track></trackList></playlist>",
    }
    names = []
    for kind, text in texts.items():
        for name in (f"list.{kind}", f"list_{kind}.mp4"):
            (inside / name).write_text(text)
            names.append(name)
    return names


def hostile_names(ground, port):
    """Names of videos that lead, or seem to lead, elsewhere."""
    inside, secret = ground / "inside", ground / "outside" / "secret.mp4"
    web = f"127.0.0.1:{port}/secret.mp4"
    absolute = [
        str(secret), f"/{secret}", f"//{secret}", str(secret).replace("/", "//"), f"{secret}/", f"{secret}/.",
        f"{inside}/../outside/secret.mp4", f"{inside}/./../outside/secret.mp4", f"/proc/self/root{secret}",
        f"/proc/{os.getpid()}/root{secret}", f"/proc/self/cwd/{secret}", "/proc/self/fd/0", "/proc/self/environ",
        "/etc/passwd", "/etc/shadow", "/", "", ".", "..", "~", "~root", "~/secret.mp4", "$HOME/secret.mp4",
        "${HOME}/secret.mp4", "%HOME%/secret.mp4", "`cat /etc/passwd`", "$(cat /etc/passwd)", "; cat /etc/passwd",
        "| cat /etc/passwd", "--help", "-i", "-",
    ]  # fmt: skip
    relative = [
        "../outside/secret.mp4", "./../outside/secret.mp4", "../../outside/secret.mp4", "a/../../outside/secret.mp4",
        "..\\outside\\secret.mp4", "....//outside/secret.mp4", "..;/outside/secret.mp4", "%2e%2e/outside/secret.mp4",
        "..%2foutside%2fsecret.mp4", "%252e%252e%252foutside/secret.mp4", "folder/../../outside/secret.mp4",
        f"{NAME}/../../outside/secret.mp4", "video.mp4/../../outside/secret.mp4", "../" * 30 + "etc/passwd",
        "../" * 30 + str(secret).lstrip("/"),
    ]  # fmt: skip
    links = [
        "link.mp4", "relative.mp4", "folder/secret.mp4", "up/outside/secret.mp4", "up/up/etc/passwd", "loop.mp4",
        "dangling.mp4", "zero.mp4", "stdin.mp4", "proc.mp4", "pipe.mp4", "folder", f"{inside}/link.mp4",
        f"{inside}/folder/secret.mp4",
    ]  # fmt: skip
    devices = [
        "/dev/stdin", "/dev/stdout", "/dev/zero", "/dev/null", "/dev/random", "/dev/tty", "/dev/fd/0", "/dev/mem",
        "/dev/video0", "/dev/shm", "/dev/../etc/passwd", "CON", "NUL", "\\\\.\\C:", "C:\\secret.mp4",
    ]  # fmt: skip
    protocols = [
        f"file://{secret}", f"file:{secret}", f"FILE://{secret}", f"file://localhost{secret}", f"file:///{secret}",
        f"http://{web}", f"https://{web}", f"HTTP://{web}", f"httpproxy://{web}", f"hls+http://{web}",
        f"hls+file://{secret}", f"ftp://{web}", f"rtmp://{web}", f"rtsp://{web}", f"rtp://{web}", f"srt://{web}",
        f"tcp://127.0.0.1:{port}", f"udp://127.0.0.1:{port}", f"tls://127.0.0.1:{port}", f"gopher://{web}",
        f"mmsh://{web}", f"icecast://{web}", f"sftp://{web}", f"smb://{web}", f"ipfs://{web}", f"unix:{secret}",
        f"concat:{secret}|{secret}", f"concatf:{secret}", f"cache:{secret}", f"cache:http://{web}", f"async:{secret}",
        f"async:http://{web}", f"crypto:{secret}", f"crypto+file:{secret}", f"subfile,,start,0,end,0,,:{secret}",
        f"md5:{secret}", f"tee:{secret}", "pipe:0", "pipe:", "fd:0", "data:video/mp4;base64,AAAA", "s3://b/secret.mp4",
        "gs://b/secret.mp4", "hf://datasets/b/secret.mp4", f"lavfi:movie={secret}", f"movie={secret}",
        f"//127.0.0.1:{port}/secret.mp4", f"ffconcat:{secret}", f"image2:{inside}/%03d.png", f"{inside}/*.mp4",
        f"{inside}/%d.mp4", "frame%03d.png", f"url:file:{secret}", f"jar:file:{secret}!/x", f"dvd://{secret}",
        f"bluray:{secret}", f"playlist:{secret}",
    ]  # fmt: skip
    unicode = [
        "\uff0e\uff0e\uff0foutside\uff0fsecret.mp4", "\u2025/outside/secret.mp4", "..\u2215outside\u2215secret.mp4",
        "..\u2044outside\u2044secret.mp4", "\u202e4pm.terces/edistuo/..", "video_1\u200b.mp4", "\ufeffvideo_1.mp4",
        "vide\u043e_1.mp4", "\uff56ideo_1.mp4", "VIDEO_1.MP4", "video_1.mp4 ", " video_1.mp4", "video_1.mp4\n",
        "video_1.mp4\r\n", "video_1.mp4\x00", "video_1.mp4\x00.png", f"{secret}\x00.mp4", "\x00", "\ud800", "\udcff",
        "a\ud83d", "\U0001f600" * 300, "\x1b[2J", "\x7f", "a" * 300, "a" * 5000, "/" * 5000, "a/" * 3000, "../" * 2000,
        "cafe\u0301.mp4", "<|im_end|>", "</tool_response>", "{{7*7}}", "%s%s%n", "video_1.mp4;" + "x" * 200,
    ]  # fmt: skip
    return [*absolute, *relative, *links, *devices, *protocols, *unicode]


HOSTILE_VALUES = [
    ("get_frames", {"video_path": None}), ("get_frames", {"video_path": 5}),
    ("get_frames", {"video_path": float("nan")}),
    ("get_frames", {"video_path": True}), ("get_frames", {"video_path": [NAME]}),
    ("get_frames", {"video_path": {"a": 1}}),
    ("crop_video", {"start_time": float("nan")}), ("crop_video", {"end_time": float("inf")}),
    ("crop_video", {"start_time": float("-inf")}), ("crop_video", {"start_time": 1e308, "end_time": 1.7e308}),
    ("crop_video", {"start_time": -1e308}), ("crop_video", {"start_time": 10**400}),
    ("crop_video", {"end_time": -(10**400)}),
    ("crop_video", {"start_time": "1; import os"}), ("crop_video", {"start_time": 2, "end_time": 1}),
    ("crop_video", {"start_time": 5e-324, "end_time": 0}), ("crop_video", {"fps": 1e308}),
    ("crop_video", {"fps": 10**400}),
    ("crop_video", {"fps": float("nan")}), ("crop_video", {"fps": -0.0}), ("crop_video", {"reader": "/etc/passwd"}),
    ("crop_video", {"ctx": "/etc/passwd"}), ("crop_video", {"__class__": 1}), ("crop_video", {"self": 1}),
    ("get_frames", {"timestamps": [1e308]}), ("get_frames", {"timestamps": [float("nan")]}),
    ("get_frames", {"timestamps": [10**400]}), ("get_frames", {"timestamps": [1] * 100_000}),
    ("get_frames", {"timestamps": [[[[]]]]}), ("get_frames", {"timestamps": "/etc/passwd"}),
    ("zoom_region", {"bbox": [0, 0, 1e308, 1e308]}), ("zoom_region", {"bbox": [float("nan")] * 4}),
    ("zoom_region", {"bbox": [0, 0, 10**400, 1]}), ("zoom_region", {"bbox": [0] * 100_000}),
    ("zoom_region", {"max_pixels": 10**12}), ("zoom_region", {"timestamp": 10**400}),
    ("search_subtitles", {"query": "a" * 1_000_000}), ("search_subtitles", {"language": "../../outside/secret"}),
    ("search_captions", {"captions": "/etc/passwd"}), ("search_captions", {"query": "\x00"}),
    ("no_such_tool", {}), ("../crop_video", {}), ("__import__", {"name": "os"}),
]  # fmt: skip


def attempts(ground, caller):
    """Tool and arguments of every attempt."""
    tools = list(GOOD)
    names = hostile_names(ground, caller[0])
    by_name = [
        (tool, {**GOOD[tool], "video_path": name})
        for number, name in enumerate(names)
        for tool in [tools[number % len(tools)]]
    ]
    by_value = [(tool, {"video_path": NAME, **GOOD.get(tool, {}), **given}) for tool, given in HOSTILE_VALUES]
    return by_name + by_value


class Openings:
    """Counts, by asking the kernel, how often anything in a folder is opened or read, by whatever library."""

    _OPEN, _ACCESS = 0x20, 0x1

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK)
        assert self._fd >= 0
        assert libc.inotify_add_watch(self._fd, os.fsencode(folder), self._OPEN | self._ACCESS) >= 0

    def seen(self):
        found = []
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._fd, 1 << 20)
            while data:
                _, _, _, length = struct.unpack_from("iIII", data)
                found.append(data[16 : 16 + length].rstrip(b"\x00").decode())
                data = data[16 + length :]
        return found

    def close(self):
        os.close(self._fd)


@pytest.fixture
def outside(ground, caller):
    """Fails the test if anything outside was opened, or anybody called."""
    openings = Openings(ground / "outside")
    before = len(caller[1])
    yield openings
    found = openings.seen()
    openings.close()
    assert found == []
    assert caller[1][before:] == []


def check_line(text, attempt):
    assert "\n" not in text, attempt
    assert 0 < len(text) < LONGEST_LINE, attempt
    assert "Traceback" not in text, attempt


def row(ground, file="video.mp4"):
    return {
        "id": "row",
        "videos": {NAME: str(ground / "inside" / file)},
        "kind": "open",
        "question": "What is it?",
        "answer": "it",
        "video_segment": None,
        "options": None,
        "source": "test",
    }


def test_there_are_200_attempts_and_the_watch_sees_an_opening(ground, caller):
    assert len(attempts(ground, caller)) >= 200
    openings = Openings(ground / "outside")
    (ground / "outside" / "secret.mp4").read_bytes()
    assert "secret.mp4" in openings.seen()
    openings.close()


def test_training_refuses_every_attempt(ground, caller, outside):
    settings = {"overview_max_frames": 2, "overview_max_pixels": 784, "crop_max_pixels": 784}
    config = EnvironmentConfig(tools=list(TOOLS), max_calls=None, **settings)
    environment = make_environment(config, plugin_manager())()
    # What lies beside the video is part of the row, wherever it links to: that is for the user to say, not the model.
    files = {**row(ground), "videos": {NAME: str(ground / "inside" / "plain.mp4")}}
    shutil.copy(ground / "inside" / "video.mp4", ground / "inside" / "plain.mp4")
    environment.reset(**files)
    for tool, arguments in attempts(ground, caller):
        if not hasattr(environment, tool):
            continue  # TRL itself answers for a tool that does not exist.
        (block,) = getattr(environment, tool)(**arguments)
        assert block["text"].startswith("Error: "), (tool, arguments)
        check_line(block["text"], arguments)
    assert environment.failure is None
    assert environment.crop_video(video_path=NAME, start_time=1, end_time=2)[0]["text"].startswith("1 frame")


class Attacker:
    """A model that makes every attempt, several in a turn, and then answers."""

    def __init__(self, calls, together=20):
        self._turns = [calls[at : at + together] for at in range(0, len(calls), together)]

    async def complete(self, messages, tools, *, max_tokens, temperature, **_):
        if not self._turns:
            return Completion({"role": "assistant", "content": "<think>.</think><answer>done</answer>"}, "stop", 1, 1)
        entries = [
            {"type": "function", "function": {"name": tool, "arguments": arguments}}
            for tool, arguments in self._turns.pop(0)
        ]
        message = {"role": "assistant", "content": "<think>.</think>", "tool_calls": entries}
        return Completion(message, "tool_calls", 1, 1)


def check_rollout(messages, calls):
    replies = [message for message in messages if message["role"] == "tool"]
    assert len(replies) == len(calls)
    for reply, attempt in zip(replies, calls, strict=True):
        assert isinstance(reply["content"], str), attempt
        assert reply["content"].startswith("Error: "), attempt
        check_line(reply["content"], attempt)


SETTINGS = {"tools": TOOLS, "overview": SMALL, "crop": SMALL, "max_calls": 100_000, "max_turns": 1000,
            "calls_per_turn": 1000}  # fmt: skip


def test_the_agent_loop_of_evaluation_refuses_every_attempt(ground, caller, outside):
    calls = attempts(ground, caller)
    files = row(ground, "plain.mp4")
    shutil.copy(ground / "inside" / "video.mp4", ground / "inside" / "plain.mp4")
    config = AgentConfig(**SETTINGS, keep_images=True)

    rollout = asyncio.run(run_agent(Attacker(calls), files, config, plugin_manager()))
    assert (rollout.stop_reason, rollout.answer) == ("answered", "done")
    check_rollout(rollout.messages, calls)


def test_ask_refuses_every_attempt(ground, caller, outside):
    calls = attempts(ground, caller)
    shutil.copy(ground / "inside" / "video.mp4", ground / "inside" / "plain.mp4")
    model = OpenedModel(Attacker(calls), "attacker")
    with Asker(model, plugins=plugin_manager(), **SETTINGS) as asker:
        answer = asker.ask(ground / "inside" / "plain.mp4", "What is it?")
    assert answer.text == "done"
    check_rollout(answer.rollout.messages, calls)


def test_mcp_refuses_every_attempt(ground, caller, outside):
    import anyio
    from mcp.shared.memory import create_connected_server_and_client_session

    inside = ground / "inside"
    playlists = write_playlists(inside, ground / "outside" / "secret.mp4", caller[0])
    by_name = [("get_frames", {"video_path": name, "timestamps": [1]}) for name in playlists]
    # Here a client may name files, so the names of files in the folder are no attack.
    own = [("search_subtitles", {"video_path": "video.mp4", "query": "secret"})]
    calls = [
        (tool, {**arguments, "video_path": "video.mp4"} if arguments.get("video_path") == NAME else arguments)
        for tool, arguments in attempts(ground, caller)
    ]

    async def use():
        config = ServerConfig(tools=TOOLS, max_frames=2)
        with ToolServer(VideoFolders([inside]), plugin_manager(), config) as tools:
            async with create_connected_server_and_client_session(tools.server) as client:
                for tool, arguments in [*calls, *by_name, *own]:
                    if not sendable(arguments):
                        continue  # JSON has no NaN and UTF-8 no surrogates: no client can send these.
                    reply = await client.call_tool(tool, arguments)
                    assert reply.isError, (tool, arguments)
                    (content,) = reply.content
                    check_line(content.text, (tool, arguments))
                return await client.call_tool("get_frames", {"video_path": "video.mp4", "timestamps": [1]})

    assert not anyio.run(use).isError


def sendable(arguments):
    import json

    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def test_playlists_in_the_place_of_a_video_open_nothing_else(ground, caller, outside):
    """A row may name such a file by mistake: it is no video, whatever its name ends in."""
    inside = ground / "inside"
    for name in write_playlists(inside, ground / "outside" / "secret.mp4", caller[0]):
        environment = make_environment(EnvironmentConfig(tools=["crop_video"]), plugin_manager())()
        blocks = environment.reset(**row(ground, name))
        assert "Error: the video cannot be read" in [block.get("text") for block in blocks]
        assert environment.failure is not None
        rollout = asyncio.run(
            run_agent(Attacker([]), row(ground, name), AgentConfig(overview=SMALL, crop=SMALL), plugin_manager())
        )
        assert rollout.stop_reason == "error"
        with Asker(OpenedModel(Attacker([]), "attacker"), plugins=plugin_manager(), overview=SMALL) as asker:
            assert asker.ask(inside / name, "What is it?").rollout.stop_reason == "error"
