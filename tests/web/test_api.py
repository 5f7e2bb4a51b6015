"""Requests of the HTTP API to a server with a tiny network."""

import io
import time

import av
import numpy as np
import pytest
from PIL import Image

from animation.motion_template import load_template
from media.video import probe
from tests.animating import SIZE
from tests.datasets.conftest import encode_with_sound
from tests.web.serving import astronaut, clip, encoded, portrait_jpeg, wait_for_job


def portrait_file(name: str = "me.jpg"):
    return {"file": (name, portrait_jpeg(), "image/jpeg")}


def test_a_portrait_is_read_and_its_face_is_shown(server, client):
    session = server.session()
    answer = client.post(f"/api/sessions/{session}/portraits", files=portrait_file())
    assert answer.status_code == 201
    found = answer.json()
    assert (found["width"], found["height"]) == (256, 256)
    (face,) = found["faces"]
    assert 0.3 < face["left"] < face["left"] + face["width"] < 0.6
    picture = client.get(f"/api/sessions/{session}/portraits/{found['portrait']}.jpg")
    assert Image.open(io.BytesIO(picture.content)).size == (256, 256)
    cut = client.get(f"/api/sessions/{session}/portraits/{found['portrait']}/cut.jpg")
    assert Image.open(io.BytesIO(cut.content)).size == (SIZE, SIZE)


def test_of_two_faces_either_can_be_cut(server, client):
    two = np.hstack([astronaut(220), np.ascontiguousarray(astronaut(220)[:, ::-1])])
    session = server.session()
    files = {"file": ("two.png", encoded(two, "PNG"))}
    found = client.post(f"/api/sessions/{session}/portraits", files=files).json()
    assert len(found["faces"]) == 2
    place = f"/api/sessions/{session}/portraits/{found['portrait']}/cut.jpg"
    cuts = [client.get(place, params={"face": face}).content for face in (0, 1)]
    assert cuts[0] != cuts[1]
    assert client.get(place, params={"face": 2}).status_code == 422


def test_a_video_drives_with_its_rate_and_its_motion_is_kept(plain_server, plain_client, tmp_path):
    files = {"portrait": ("me.jpg", portrait_jpeg()), "driving": ("clip.mp4", clip(tmp_path))}
    job = plain_client.post("/api/animate", files=files)
    assert job.status_code == 202
    state = wait_for_job(plain_client, job.json())
    assert (state["state"], state["progress"], state["written"]) == ("done", 1.0, 8)
    result = tmp_path / "result.mp4"
    result.write_bytes(plain_client.get(state["result"]).content)
    assert (probe(result).num_frames, probe(result).rate) == (8, 25)
    motion = tmp_path / "motion.npz"
    motion.write_bytes(plain_client.get(state["motion"]).content)
    assert len(load_template(motion).keypoints.positions) == 8
    preview = plain_client.get(f"/api/sessions/{state['session']}/jobs/{state['job']}/preview.jpg")
    assert Image.open(io.BytesIO(preview.content)).size == (SIZE, SIZE)

    again = {"portrait": ("me.jpg", portrait_jpeg()), "driving": ("x", motion.read_bytes())}
    state = wait_for_job(plain_client, plain_client.post("/api/animate", files=again).json())
    assert (state["state"], state["motion"]) == ("done", None)
    assert plain_client.get(state["result"]).content[4:8] == b"ftyp"


def test_the_sound_of_the_video_is_kept(plain_server, plain_client, tmp_path):
    video = encode_with_sound(tmp_path / "sound.mp4", "aac", seconds=0.5)
    files = {
        "portrait": ("me.jpg", portrait_jpeg()),
        "driving": ("a.mp4", video.read_bytes()),
    }
    answer = plain_client.post("/api/animate", params={"wait": True}, files=files)
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as result:
        assert len(result.streams.audio) == 1


def test_waiting_for_a_result_leaves_nothing_behind(plain_server, plain_client, tmp_path):
    before, files = len(plain_server.studio.sessions), clip(tmp_path)
    answer = plain_client.post(
        "/api/animate",
        params={"wait": "true"},
        files={"portrait": ("me.jpg", portrait_jpeg()), "driving": ("clip.mp4", files)},
        data={"panels": "true"},
    )
    assert answer.status_code == 200
    (tmp_path / "out.mp4").write_bytes(answer.content)
    assert probe(tmp_path / "out.mp4").size == (SIZE, 3 * SIZE)
    until = time.monotonic() + 5
    while len(plain_server.studio.sessions) > before and time.monotonic() < until:
        time.sleep(0.02)
    assert len(plain_server.studio.sessions) == before


def test_a_result_is_pasted_into_the_whole_portrait(server, client, tmp_path):
    files = {"portrait": ("me.jpg", portrait_jpeg()), "driving": ("clip.mp4", clip(tmp_path))}
    answer = client.post("/api/animate?wait=true", files=files, data={"paste": "true"})
    (tmp_path / "out.mp4").write_bytes(answer.content)
    assert probe(tmp_path / "out.mp4").size == (256, 256)


def test_an_animation_is_cancelled_and_leaves_no_file(plain_server, plain_client, tmp_path):
    session = plain_server.session()
    files = {
        "portrait": ("me.jpg", portrait_jpeg()),
        "driving": ("clip.mp4", clip(tmp_path, 2000)),
    }
    job = plain_client.post("/api/animate", files=files, data={"session": session}).json()
    assert plain_client.delete(f"/api/sessions/{session}/jobs/{job['job']}").status_code == 204
    state = wait_for_job(plain_client, job)
    assert (state["state"], state["result"]) == ("cancelled", None)
    folder = plain_server.studio.sessions[session].folder
    assert [path.suffix for path in folder.iterdir()] == [".mp4"]  # the upload


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"expression": "1.5"}, "This network finds no landmarks: leave the expression at 1."),
        ({"paste": "true", "panels": "true"}, "A result is pasted back or shown with panels"),
        ({"paste": "true"}, "This network does not crop faces"),
        ({"head": "3"}, "head: Input should be less than or equal to 2."),
        ({"motion": "talking"}, "Give one of driving, driving_number and motion."),
        ({"face": "7"}, "The portrait has no face number 7."),
        ({"portrait_number": "1"}, "Give a portrait, or the portrait_number"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_sentence(
    plain_server, plain_client, tmp_path, data, sentence
):
    files = {"portrait": ("me.jpg", portrait_jpeg()), "driving": ("clip.mp4", clip(tmp_path))}
    before = len(plain_server.studio.sessions)
    answer = plain_client.post("/api/animate", files=files, data=data)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)
    assert len(plain_server.studio.sessions) == before


def test_the_api_is_described(client):
    described = client.get("/api/openapi.json").json()
    assert {"/api/animate", "/api/sessions"} <= set(described["paths"])
    assert client.get("/docs").status_code == 404


def test_sessions_end_with_all_that_they_have(server, client):
    session = server.session()
    client.post(f"/api/sessions/{session}/portraits", files=portrait_file())
    folder = server.studio.sessions[session].folder
    assert folder.is_dir()
    assert client.delete(f"/api/sessions/{session}").status_code == 204
    assert not folder.exists()
    assert client.get(f"/api/sessions/{session}").json()["error"].startswith("This session has")
