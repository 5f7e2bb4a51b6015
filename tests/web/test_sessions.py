"""Sessions end when they are idle, and their files with them."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from tests.web.serving import clip, portrait_jpeg, served, tiny_studio
from web.limits import Limits, Refusal
from web.sessions import NAME, OVER, Sessions, Shelf
from web.uploads import read_motion


def test_idle_sessions_end(tmp_path, monkeypatch):
    monkeypatch.setattr("web.sessions.SWEEP_EVERY", 0.05)
    limits = Limits(session_idle_seconds=0.3)
    with served(tiny_studio(tmp_path, faces=False, limits=limits)) as server:
        session = server.session()
        with server.client() as client:
            for _ in range(6):  # it is used, and stays
                time.sleep(0.1)
                assert client.get(f"/api/sessions/{session}").status_code == 200
        until = time.monotonic() + 10
        while server.files and time.monotonic() < until:
            time.sleep(0.05)
        assert not server.files


def test_a_session_is_idle_from_the_end_of_its_animation(tmp_path, monkeypatch):
    """A result is kept for a client that comes back after a long animation."""
    monkeypatch.setattr("web.sessions.SWEEP_EVERY", 0.02)
    with served(tiny_studio(tmp_path, faces=False)) as server:
        session, sessions = server.session(), server.studio.sessions
        files = {"portrait": ("a.jpg", portrait_jpeg()), "driving": ("b.mp4", clip(tmp_path, 600))}
        with server.client() as client:
            client.post("/api/animate", files=files, data={"session": session}).raise_for_status()
            (job,) = sessions[session].jobs.items.values()
            monkeypatch.setattr(sessions, "limits", Limits(session_idle_seconds=0.5))
            began = time.monotonic()
            assert job.finished.wait(60)
            assert time.monotonic() - began > 0.6, "too short to tell anything"
            time.sleep(0.2)
            assert client.get(f"/api/sessions/{session}/jobs/1/result.mp4").status_code == 200


def test_the_end_of_a_session_during_an_upload_is_no_fault(tmp_path, monkeypatch):
    with served(tiny_studio(tmp_path, faces=False)) as server:
        session = server.session()

        def ended(*args):
            server.studio.sessions.end(session)
            return read_motion(*args)

        monkeypatch.setattr("web.studio.read_motion", ended)
        with server.client() as client:
            files = {"file": ("a.mp4", clip(tmp_path))}
            answer = client.post(f"/api/sessions/{session}/drivings", files=files)
        assert (answer.status_code, answer.json()["error"]) == (404, OVER)


def test_a_session_that_works_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("web.sessions.SWEEP_EVERY", 0.01)
    sessions = Sessions(Limits(session_idle_seconds=0), tmp_path)
    session = sessions.begin()

    async def sweep() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sessions.sweep(), 0.2)

    with session:
        asyncio.run(sweep())
        assert len(sessions) == 1
    asyncio.run(sweep())
    assert len(sessions) == 0
    sessions.close()
    assert not list(tmp_path.iterdir())


def test_files_of_a_killed_server_are_removed_by_the_next(tmp_path):
    script = (
        "import os, sys, signal; from pathlib import Path\n"
        "from web.limits import Limits; from web.sessions import Sessions\n"
        "session = Sessions(Limits(), Path(sys.argv[1])).begin()\n"
        "session.new_path('.mp4').write_bytes(b'face')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{NAME}")
    assert list(left.rglob("*.mp4"))
    other = tmp_path / f".{NAME}other.1"  # of a process that runs
    other.mkdir()
    sessions = Sessions(Limits(), tmp_path)
    assert not left.exists()
    assert other.exists()
    assert sessions.folder.stat().st_mode & 0o077 == 0
    assert sessions.folder.name.endswith(f".{os.getpid()}")
    sessions.close()


def test_a_shelf_drops_the_oldest_that_is_not_used():
    used, dropped = {1}, []
    shelf: Shelf[int] = Shelf(2, used.__contains__, dropped.append)
    assert [shelf.add(item) for item in (1, 2, 3)] == [1, 2, 3]
    assert dropped == [2]
    used |= {3}
    with pytest.raises(Refusal):
        shelf.add(4)
    assert shelf[3] == 3


def test_files_are_refused_where_there_is_no_room(tmp_path):
    limits = Limits(stored_bytes=1000)
    with served(tiny_studio(tmp_path, faces=False, limits=limits)) as server:
        session = server.session()
        with server.client() as client:
            files = {"file": ("a.mp4", clip(tmp_path))}
            answer = client.post(f"/api/sessions/{session}/drivings", files=files)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


def test_the_end_of_a_session_ends_its_animation(tmp_path):
    with served(tiny_studio(tmp_path, faces=False)) as server:
        session = server.session()
        files = {"portrait": ("a.jpg", portrait_jpeg()), "driving": ("b.mp4", clip(tmp_path, 3000))}
        with server.client() as client:
            client.post("/api/animate", files=files, data={"session": session}).raise_for_status()
            (job,) = server.studio.sessions[session].jobs.items.values()
            client.delete(f"/api/sessions/{session}")
        assert job.finished.wait(10)
        assert job.state == "cancelled"
        assert not server.files
