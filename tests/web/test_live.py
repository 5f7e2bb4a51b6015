"""A camera over one WebSocket, with a tiny network."""

import asyncio
import io
import json
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest
import websockets
from PIL import Image
from websockets.asyncio.client import connect

from animation.live import LiveAnimation
from tests.animating import SIZE
from tests.web.serving import (
    Running,
    astronaut,
    camera,
    encoded,
    packet,
    portrait_jpeg,
    served,
    tiny_studio,
    told,
)
from web.limits import Limits
from web.live import LiveConnection
from web.sessions import OVER

BLANK = encoded(np.full((256, 256, 3), 90, np.uint8))


def session_with_portrait(server: Running) -> tuple[str, int]:
    session = server.session()
    with server.client() as client:
        files = {"file": ("me.jpg", portrait_jpeg())}
        answer = client.post(f"/api/sessions/{session}/portraits", files=files)
        return session, answer.raise_for_status().json()["portrait"]


async def next_of(socket, kind: str):
    """The next message of a kind; earlier ones are left out."""
    while True:
        message = await asyncio.wait_for(socket.recv(), 30)
        if (found := told(message))["type"] == kind:
            return found


async def begun(server: Running, socket, portrait: int, **options) -> dict:
    await socket.send(json.dumps({"type": "start", "portrait": portrait, **options}))
    return await next_of(socket, "ready")


def live(server: Running, session: str, **options):
    return connect(f"{server.live_url}?session={session}", proxy=None, max_size=2**22, **options)


def test_frames_come_back_with_their_times(plain_server):
    session, portrait = session_with_portrait(plain_server)

    async def talk():
        async with live(plain_server, session) as socket:
            ready = await begun(plain_server, socket, portrait)
            assert (ready["width"], ready["height"]) == (SIZE, SIZE)
            times = []
            for number, jpeg in enumerate(camera(6)):
                await socket.send(packet(40.5 * number, jpeg))
                found = await next_of(socket, "picture")
                assert found["size"] == (SIZE, SIZE)
                times.append(found["time"])
            assert times == [40.5 * number for number in range(6)]

    asyncio.run(talk())


def test_of_frames_that_come_too_fast_the_newest_is_animated(plain_server, monkeypatch):
    """A slow network answers few frames, and each answer is of what came last."""
    animate = LiveAnimation.animate

    def slow(self, frame, seconds):
        time.sleep(0.2)
        return animate(self, frame, seconds)

    monkeypatch.setattr(LiveAnimation, "animate", slow)
    session, portrait = session_with_portrait(plain_server)
    pictures = camera(8)

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            sent = {}

            async def film():
                for number in range(80):
                    stamp = 1000 * time.monotonic()
                    sent[stamp] = number
                    await socket.send(packet(stamp, pictures[number % 8]))
                    await asyncio.sleep(0.025)

            filming = asyncio.create_task(film())
            delays, numbers = [], []
            while not filming.done():
                found = await next_of(socket, "picture")
                delays.append(1000 * time.monotonic() - found["time"])
                numbers.append(sent[found["time"]])
            return delays, numbers

    delays, numbers = asyncio.run(talk())
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 20
    half = len(delays) // 2
    assert np.median(delays[half:]) < 1.5 * max(np.median(delays[:half]), 400)
    assert max(delays) < 3000


def test_a_lost_face_is_said_and_found_again(server):
    session, portrait = session_with_portrait(server)
    face = encoded(astronaut())

    async def talk():
        async with live(server, session) as socket:
            await begun(server, socket, portrait)
            await socket.send(packet(0, BLANK))
            assert await next_of(socket, "face") == {"type": "face", "seen": False, "time": 0}
            stamp, seen = 0, []
            for jpeg, kind in ((face, "picture"), (BLANK, "face"), (face, "picture")):
                until = time.monotonic() + 20
                while True:
                    stamp += 40
                    await socket.send(packet(stamp, jpeg))
                    found = told(await socket.recv())
                    if found["type"] == kind:
                        break
                    assert time.monotonic() < until, kind
                    await asyncio.sleep(0.05)
                seen.append(kind)
            assert seen == ["picture", "face", "picture"]

    asyncio.run(talk())


def test_a_face_that_is_held_still_suggests_to_set_neutral(plain_server):
    session, portrait = session_with_portrait(plain_server)
    (jpeg,) = camera(1)

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            until, stamp = time.monotonic() + 20, 0
            while time.monotonic() < until:
                stamp += 40
                await socket.send(packet(stamp, jpeg))
                message = told(await socket.recv())
                if message["type"] == "still":
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("the still face was not noticed")
            await socket.send('{"type": "neutral"}')
            await socket.send(packet(stamp + 40, jpeg))
            await next_of(socket, "picture")

    asyncio.run(talk())


def test_the_strength_of_the_head_changes_what_is_seen(plain_server):
    session, portrait = session_with_portrait(plain_server)
    first, last = camera(8)[0], camera(8)[-1]

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait, head=1.0)
            seen = []
            for number, (strength, jpeg) in enumerate(
                [(1, first), (1, last), (0, last), (1, last)]
            ):
                await socket.send(f'{{"type": "strength", "head": {strength}}}')
                await socket.send(packet(number, jpeg))
                seen.append(await asyncio.wait_for(socket.recv(), 30))
            pictures = [message[8:] for message in seen]
            assert pictures[0] == pictures[2] != pictures[1] == pictures[3]

    asyncio.run(talk())


def test_what_is_seen_is_recorded_with_its_times(plain_server, tmp_path):
    session, portrait = session_with_portrait(plain_server)
    stamps = [0, 40, 90, 120, 200]

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            await socket.send('{"type": "record"}')
            for stamp, jpeg in zip(stamps, camera(5), strict=True):
                await socket.send(packet(5000 + stamp, jpeg))
                await next_of(socket, "picture")
            await socket.send('{"type": "stop"}')
            return await next_of(socket, "recorded")

    recorded = asyncio.run(talk())
    assert (recorded["frames"], recorded["seconds"]) == (5, 0.2)
    with plain_server.client() as client:
        data = client.get(recorded["url"]).raise_for_status().content
    with av.open(io.BytesIO(data)) as video:
        assert "generated" in video.metadata["comment"].lower()
        times = [1000 * frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx(stamps, abs=0.1)


def test_a_recording_that_ends_while_a_frame_is_encoded_takes_nothing_down(plain_server):
    looks = iter([SimpleNamespace(add=lambda picture, stamp: None)])

    class Ending(LiveConnection):
        """A connection whose recording ends right after the first look at it."""

        recording = property(lambda self: next(looks, None), lambda self, value: None)

    connection = Ending(None, None, plain_server.studio)
    assert connection.finish(np.zeros((32, 32, 3), np.uint8), 0.0)


def test_the_end_of_its_session_ends_a_live_animation(plain_server):
    session, portrait = session_with_portrait(plain_server)

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            plain_server.studio.sessions.end(session)
            await socket.send('{"type": "record"}')
            assert (await next_of(socket, "error"))["error"] == OVER
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()

    asyncio.run(talk())


def test_a_recording_that_cannot_be_written_is_one_sentence_without_paths(plain_server):
    session, portrait = session_with_portrait(plain_server)
    folder = plain_server.studio.sessions[session].folder

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            folder.rmdir()
            await socket.send('{"type": "record"}')
            return (await next_of(socket, "error"))["error"]

    sentence = asyncio.run(talk())
    assert sentence.startswith("A file of the session cannot be written")
    assert str(folder.parent) not in sentence


def test_a_face_is_seen_in_the_first_frame_of_another_portrait(server, monkeypatch):
    """It is searched anew, also where the search for the portrait before is not at its end."""
    session, portrait = session_with_portrait(server)
    follow, release = LiveAnimation.follow_face, threading.Event()
    monkeypatch.setattr("animation.live.EVERY", 0.0)

    def slow(self, picture, seconds):
        if self.follower.crop is not None:
            release.wait(3)
        follow(self, picture, seconds)

    monkeypatch.setattr(LiveAnimation, "follow_face", slow)

    async def talk():
        async with live(server, session) as socket:
            await begun(server, socket, portrait)
            for number in range(3):
                await socket.send(packet(number, encoded(astronaut())))
                await next_of(socket, "picture")
            await begun(server, socket, portrait)
            await socket.send(packet(10, encoded(astronaut())))
            found = told(await asyncio.wait_for(socket.recv(), 30))
            release.set()
            assert found["type"] == "picture"

    asyncio.run(talk())


def test_live_pictures_have_a_label_unless_it_is_switched_off(tmp_path):
    seen = []
    for label in (True, False):
        with served(tiny_studio(tmp_path, faces=False, label=label)) as server:
            seen.append(first_picture(server).astype(int))
    difference = np.abs(seen[0] - seen[1]).max(axis=(1, 2))
    assert difference[:8].max() < 15  # JPEG smears colours over 16 pixels
    assert difference[-16:].max() > 60


def first_picture(server: Running) -> np.ndarray:
    session, portrait = session_with_portrait(server)

    async def talk():
        async with live(server, session) as socket:
            await begun(server, socket, portrait)
            await socket.send(packet(0, camera(1)[0]))
            return await asyncio.wait_for(socket.recv(), 30)

    return np.asarray(Image.open(io.BytesIO(asyncio.run(talk())[8:])))


def test_two_live_sessions_alternate(plain_server, monkeypatch):
    animate, order = LiveAnimation.animate, []

    def noted(self, frame, seconds):
        time.sleep(0.02)
        order.append(id(self))
        return animate(self, frame, seconds)

    monkeypatch.setattr(LiveAnimation, "animate", noted)

    async def film():
        session, portrait = await asyncio.to_thread(session_with_portrait, plain_server)
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            for number, jpeg in enumerate(3 * camera(8)):
                await socket.send(packet(number, jpeg))
                if number:
                    await next_of(socket, "picture")

    async def both():
        await asyncio.gather(film(), film())

    asyncio.run(both())
    middle = order[10:-10]
    changes = sum(one != other for one, other in zip(middle, middle[1:], strict=False))
    assert changes >= 0.7 * (len(middle) - 1)


def test_a_client_that_stops_reading_does_not_stop_others(plain_server):
    idle, portrait = session_with_portrait(plain_server)
    busy, other = session_with_portrait(plain_server)
    pictures = camera(8)

    async def talk():
        slow = live(plain_server, idle, max_queue=1, close_timeout=0.1)
        async with slow as stuck, live(plain_server, busy) as socket:
            await begun(plain_server, stuck, portrait)
            await begun(plain_server, socket, other)

            async def flood():
                for number in range(10**5):
                    await stuck.send(packet(number, pictures[number % 8]))

            flooding = asyncio.create_task(flood())
            for number in range(20):
                await socket.send(packet(number, pictures[number % 8]))
                assert (await next_of(socket, "picture"))["time"] == number
            flooding.cancel()
            stuck.transport.abort()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([packet(0, b"\xff\xd8\xff")], "A picture came before the message"),
        (["{"], "Messages are JSON"),
        (['{"type": "rm"}'], "Messages are JSON"),
        (['{"type": "start", "portrait": 1, "head": 9}'], "Messages are JSON"),
        (['{"type": "start", "portrait": 1, "expression": 2}'], "This network finds no landmarks"),
        (['{"type": "start", "portrait": 99}'], "There is no number 99 here"),
        (['{"type": "neutral"}'], "The first message is"),
        ([5000 * "["], "Messages are JSON"),
    ],
)
def test_wrong_messages_are_answered_with_one_sentence(plain_server, messages, sentence):
    session, _ = session_with_portrait(plain_server)

    async def talk():
        async with live(plain_server, session) as socket:
            for message in messages:
                await socket.send(message)
            error = await next_of(socket, "error")
            assert error["error"].startswith(sentence)
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()

    asyncio.run(talk())


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\0" * 8],
        [packet(float("nan"), camera(1)[0])],
        [packet(1, camera(1)[0]), packet(1, camera(1)[0])],
        [packet(1e300, camera(1)[0])],
        [packet(0, camera(1)[0][:40])],
        [packet(0, b"\x89PNG\r\n\x1a\n")],
        [packet(0, encoded(np.zeros((2000, 2000, 3), np.uint8)))],
        [packet(0, bytes(2_000_000))],
    ],
)
def test_wrong_pictures_end_one_connection_alone(plain_server, frames):
    session, portrait = session_with_portrait(plain_server)

    async def talk():
        async with live(plain_server, session) as socket:
            await begun(plain_server, socket, portrait)
            for frame in frames:
                await socket.send(frame)
            while True:
                await asyncio.wait_for(socket.recv(), 30)

    with pytest.raises(websockets.ConnectionClosed):
        asyncio.run(talk())
    with plain_server.client() as client:
        assert client.get("/api/info").status_code == 200


def test_a_session_has_one_live_animation_and_the_server_a_number(tmp_path):
    with served(tiny_studio(tmp_path, faces=False, limits=Limits(live=1))) as server:
        session, other = server.session(), server.session()

        async def talk():
            async with live(server, session):
                for name, status in ((session, 409), (other, 503), ("nobody", 404)):
                    with pytest.raises(websockets.InvalidStatus) as refused:
                        await live(server, name)
                    assert refused.value.response.status_code == status

        asyncio.run(talk())
