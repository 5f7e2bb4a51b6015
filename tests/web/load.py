"""Load a server for minutes, and say what is left of it: python -m tests.web.load [SECONDS].

Eight live clients and twenty that upload and animate, half of which leave in the middle.  It is run
by hand: the tests of the suite take seconds.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.test_app import started
from tests.web.serving import astronaut, camera, clip, encoded, packet, portrait_jpeg, told

LIVE, UPLOADS = 8, 20
LEAVES = 0.5  # of the visits, in the middle


class Counts:
    """Counts of the frames, results and answers that clients have seen."""

    def __init__(self) -> None:
        self.frames: dict[int, int] = defaultdict(int)
        self.delays: list[float] = []
        self.longest_wait = 0.0
        self.jobs: dict[int, int] = defaultdict(int)
        self.answers: dict[int, int] = defaultdict(int)


async def portrait_of(client: httpx.AsyncClient, counts: Counts) -> tuple[str, int] | None:
    """Begin a session with a portrait; None where the server refuses it."""
    answer = await client.post("/api/sessions")
    counts.answers[answer.status_code] += 1
    if answer.status_code != 201:
        return None
    session = answer.json()["session"]
    files = {"file": ("me.jpg", portrait_jpeg(160))}
    answer = await client.post(f"/api/sessions/{session}/portraits", files=files)
    counts.answers[answer.status_code] += 1
    return session, answer.json()["portrait"]


async def film(number: int, client: httpx.AsyncClient, counts: Counts, until: float) -> None:
    """Send frames of a camera, two under way, and leave at random."""
    pictures = [*camera(8), encoded(astronaut(96))]
    dice = random.Random(number)
    while time.monotonic() < until:
        begun = await portrait_of(client, counts)
        if begun is None:
            await asyncio.sleep(1)
            continue
        session, portrait = begun
        address = f"{str(client.base_url).replace('http', 'ws')}/api/live?session={session}"
        stays = dice.uniform(5, 30)
        leaves_at = min(time.monotonic() + stays, until)
        try:
            async with connect(address, proxy=None, close_timeout=1) as socket:
                await socket.send(json.dumps({"type": "start", "portrait": portrait}))
                await socket.recv()
                sent = time.monotonic()
                while time.monotonic() < leaves_at:
                    await socket.send(packet(1000 * time.monotonic(), dice.choice(pictures)))
                    found = told(await asyncio.wait_for(socket.recv(), 30))
                    now = time.monotonic()
                    counts.longest_wait = max(counts.longest_wait, now - sent)
                    sent = now
                    if found["type"] == "picture":
                        counts.frames[number] += 1
                        counts.delays.append(now - found["time"] / 1000)
                if dice.random() < LEAVES:
                    socket.transport.abort()
        except (ConnectionClosed, InvalidStatus):
            counts.answers[0] += 1
        await client.delete(f"/api/sessions/{session}")


async def animate(
    number: int, client: httpx.AsyncClient, counts: Counts, until: float, video: bytes
) -> None:
    """Upload and animate files again and again, and leave at random."""
    dice = random.Random(1000 + number)
    while time.monotonic() < until:
        files = {"portrait": ("me.jpg", portrait_jpeg(160)), "driving": ("a.mp4", video)}
        leaves = dice.random() < LEAVES
        limit = dice.uniform(0.05, 3) if leaves else 120
        try:
            asking = client.post("/api/animate?wait=true", files=files, timeout=130)
            answer = await asyncio.wait_for(asking, limit)
            counts.answers[answer.status_code] += 1
            counts.jobs[number] += answer.status_code == 200
            if answer.status_code != 200:
                await asyncio.sleep(1)
        except (asyncio.TimeoutError, httpx.TransportError):
            counts.answers[0] += 1


def describe(process: psutil.Process, folder: Path) -> str:
    """Memory, threads and files of the server."""
    with process.oneshot():
        memory, threads = process.memory_info().rss / 2**20, process.num_threads()
        descriptors = process.num_fds()
    kept = sum(1 for path in folder.rglob("*") if path.is_file())
    return f"{memory:.0f} MiB, {threads} threads, {descriptors} descriptors, {kept} files"


async def load(address: str, process: psutil.Process, folder: Path, seconds: float) -> Counts:
    """Run all clients for some seconds."""
    counts, until = Counts(), time.monotonic() + seconds
    video = clip(folder.parent, 20)
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        base_url=address.rstrip("/"), trust_env=False, timeout=60, limits=limits
    ) as client:
        work = [film(number, client, counts, until) for number in range(LIVE)]
        work += [animate(number, client, counts, until, video) for number in range(UPLOADS)]
        running = asyncio.gather(*work)
        while not running.done():
            print(f"{max(until - time.monotonic(), 0):4.0f} s left:", describe(process, folder))
            await asyncio.wait([running], timeout=15)
        await running
    return counts


def main(seconds: float) -> None:
    """Load a server, and print what it was before and after."""
    with tempfile.TemporaryDirectory() as text:
        base = Path(text)
        (base / "server").mkdir()
        with started(base / "server") as (popen, address):
            process = psutil.Process(popen.pid)
            (folder,) = (base / "server").glob(".mcnet-app-*")
            print("before:", describe(process, folder))
            counts = asyncio.run(load(address, process, folder, seconds))
            until = time.monotonic() + 60
            while any(folder.iterdir()) and time.monotonic() < until:
                time.sleep(0.5)
            print("after:", describe(process, folder))
            print("alive:", httpx.get(f"{address}api/info", trust_env=False).status_code)
    frames, jobs = counts.frames, counts.jobs
    delays = 1000 * np.array(counts.delays)
    print(
        f"live: {sorted(frames.values())} frames, delay {np.median(delays):.0f} ms (median), "
        f"{np.quantile(delays, 0.9):.0f} ms (90 %), longest wait {counts.longest_wait:.1f} s"
    )
    print(f"files: {sum(jobs.values())} results, by client {sorted(jobs.values())}")
    print("answers:", dict(sorted(counts.answers.items())), "(0: cut off)")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0)
