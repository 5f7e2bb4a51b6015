"""Hostile and damaged uploads: one sentence each, nothing outside of the session's folder."""

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.animating import moving_square
from tests.web.serving import astronaut, clip, encoded, portrait_jpeg

OUTSIDE = "/tmp/mcnet_app_escaped"


class Bomb:
    def __reduce__(self):
        return (open, (OUTSIDE, "w"))


def png_of(width: int, height: int) -> bytes:
    """A PNG that states its size and has no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def npz_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zip_of(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy_header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def still_gif() -> bytes:
    return encoded(np.zeros((32, 32, 3), np.uint8), "GIF")


def webp_of(num_frames: int) -> bytes:
    frames = [Image.fromarray(frame) for frame in moving_square(num_frames)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=40)
    return file.getvalue()


PORTRAITS = {
    "empty": b"",
    "text": b"hello",
    "html": b"<!doctype html><script>alert(1)</script>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file\n",
    "pickle": pickle.dumps(Bomb()),
    "jpeg cut off": portrait_jpeg()[:1000],
    "jpeg header alone": b"\xff\xd8\xff\xe0",
    "png of 50000 x 50000": png_of(50_000, 50_000),
    "png of 2 x 2 billion": png_of(2**31 - 1, 2**31 - 1),
    "png without pixels": png_of(300, 300),
    "png of 4 x 4": encoded(np.zeros((4, 4, 3), np.uint8), "PNG"),
    "png of noise": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "bmp of noise": b"BM" + bytes(range(256)) * 9,
    "tiff in a loop": b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 256, 4, 1, 8) + b"\x08\0\0\0",
    "webp of noise": b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(500),
    "avif of noise": b"\0\0\0\x1cftypavif" + bytes(range(200)),
    "heic of noise": b"\0\0\0\x1cftypheic" + bytes(range(200)),
    "zip": zip_of({"../../" + OUTSIDE: b"x"}),
}

DRIVINGS = {
    "empty": b"",
    "text": b"hello\n" * 99,
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "playlist of the network": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n",
    "concat script": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "dash": b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/</BaseURL></MPD>",
    "sdp": b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "picture": portrait_jpeg(),
    "still gif": still_gif(),
    "mp4 of noise": b"\0\0\0\x20ftypisom" + bytes(range(256)) * 40,
    "mkv of noise": b"\x1aE\xdf\xa3" + bytes(range(256)) * 40,
    "avi of noise": b"RIFF\0\1\0\0AVI " + bytes(range(256)) * 10,
    "ogg of noise": b"OggS" + bytes(range(256)) * 10,
    "flv of noise": b"FLV\x01" + bytes(range(256)) * 10,
    "asf of noise": b"0&\xb2u\x8ef\xcf\x11" + bytes(range(256)) * 10,
    "mpeg of noise": b"\0\0\x01\xba" + bytes(range(256)) * 10,
    "gif of noise": b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(range(256)) * 9,
    "pickle": pickle.dumps(Bomb()),
    "npz with a pickle": npz_of(positions=np.array([Bomb()], dtype=object)),
    "npz of zeros, a gigabyte": zip_of(
        {"positions.npy": npy_header("(250000000,)") + bytes(10**8)}
    ),
    "npz that states a petabyte": zip_of({"positions.npy": npy_header("(250000000000000,)")}),
    "npz of another shape": npz_of(positions=np.zeros((3, 3))),
    "npz of texts": npz_of(positions=np.array(["a"]), jacobians=np.array(["b"])),
    "npz with paths": zip_of({"../../../" + OUTSIDE: b"x", "/etc/x.npy": npy_header("(0,)")}),
    "zip cut off": npz_of(positions=np.zeros((3, 3)))[:60],
    "zip of nothing": zip_of({}),
    "zip in a zip": zip_of({"a.npy": zip_of({"b.npy": bytes(9)})}),
    "mp4 cut off": b"",  # made from a real one below
}


@pytest.fixture(scope="module")
def session(plain_server):
    return plain_server.session()


def assert_refused(answer, server, session: str) -> None:
    assert answer.status_code in (413, 422), answer.text
    sentence = answer.json()["error"]
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert str(server.studio.sessions.folder) not in sentence
    assert not list(server.studio.sessions[session].folder.iterdir())
    assert not Path(OUTSIDE).exists()


@pytest.mark.parametrize("kind", PORTRAITS)
def test_hostile_portraits_are_one_sentence(plain_server, session, kind):
    with plain_server.client() as client:
        files = {"file": ("../../etc/evil.jpg", PORTRAITS[kind])}
        answer = client.post(f"/api/sessions/{session}/portraits", files=files)
    assert_refused(answer, plain_server, session)


@pytest.mark.parametrize("kind", DRIVINGS)
def test_hostile_videos_and_motions_are_one_sentence(plain_server, session, kind, tmp_path):
    data = DRIVINGS[kind]
    if kind == "mp4 cut off":
        data = clip(tmp_path)[:-400]
    with plain_server.client() as client:
        files = {"file": ("../../etc/evil.npz", data)}
        answer = client.post(f"/api/sessions/{session}/drivings", files=files)
    assert_refused(answer, plain_server, session)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\x\\y.mp4",
        "a\r\nb",
        "\u202egnp.exe",
        "x" * 3000,
        "con",
    ],
)
def test_names_of_users_never_become_paths(plain_server, name, tmp_path):
    session = plain_server.session()
    with plain_server.client() as client:
        files = {"file": (name, clip(tmp_path))}
        answer = client.post(f"/api/sessions/{session}/drivings", files=files)
        assert answer.status_code == 201
    (path,) = plain_server.studio.sessions[session].folder.iterdir()
    assert path.name == "1.mp4"


def test_videos_of_any_container_and_animated_pictures_drive(plain_server, tmp_path):
    session = plain_server.session()
    with plain_server.client() as client:
        for data in (clip(tmp_path), webp_of(5)):
            answer = client.post(f"/api/sessions/{session}/drivings", files={"file": ("a", data)})
            assert (answer.status_code, answer.json()["kind"]) == (201, "video"), answer.text


def test_large_portraits_are_made_smaller(plain_server):
    session = plain_server.session()
    picture = encoded(np.tile(astronaut(256), (12, 9, 1)))
    with plain_server.client() as client:
        answer = client.post(f"/api/sessions/{session}/portraits", files={"file": ("a", picture)})
    assert (answer.json()["width"], answer.json()["height"]) == (1536, 2048)


def test_a_motion_of_another_network_is_refused(plain_server, session):
    motion = Path("weights/motions/talking.npz").read_bytes()
    with plain_server.client() as client:
        files = {"file": ("talking.npz", motion)}
        answer = client.post(f"/api/sessions/{session}/drivings", files=files)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("talking.npz was made by the keypoint detector")


def test_the_oldest_upload_makes_room_for_the_next(plain_server, tmp_path):
    session, data = plain_server.session(), clip(tmp_path)
    with plain_server.client() as client:
        for _ in range(plain_server.studio.limits.drivings + 2):
            answer = client.post(f"/api/sessions/{session}/drivings", files={"file": ("a", data)})
            assert answer.status_code == 201
        folder = plain_server.studio.sessions[session].folder
        kept = set(folder.iterdir())
        assert len(kept) == plain_server.studio.limits.drivings
        refused = {"file": ("a", b"no video")}
        assert client.post(f"/api/sessions/{session}/drivings", files=refused).status_code == 422
        assert set(folder.iterdir()) == kept  # a bad one takes no other's place
