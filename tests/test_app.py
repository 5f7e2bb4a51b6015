"""The command ``python app.py``: it serves, and ends at once when it is asked to."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app import main
from tests.animating import complaint, write_checkpoint
from tests.web.serving import clip, portrait_jpeg

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start the command with a tiny network; yield it with the address that it printed."""
    checkpoint = write_checkpoint(folder / "tiny.safetensors")
    command = [sys.executable, "app.py", "--checkpoint", str(checkpoint), "--device", "cpu"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", str(free_port()), *options],
            cwd=ROOT,
            env=environment,
            stderr=output,
        )
    try:
        until = time.monotonic() + 60
        while (found := re.search(r"^Open (\S+)", log.read_text(), flags=re.M)) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_two_seconds_and_removes_the_files(tmp_path, kind):
    with started(tmp_path) as (process, address):
        files = {"portrait": ("a.jpg", portrait_jpeg()), "driving": ("b.mp4", clip(tmp_path, 3000))}
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            for _ in range(2):
                client.post("/api/animate", files=files).raise_for_status()
        (folder,) = tmp_path.glob(".mcnet-app-*")
        began = time.monotonic()
        process.send_signal(kind)
        process.wait(timeout=20)
        assert time.monotonic() - began < 2
        assert process.returncode == 128 + kind
        assert not folder.exists()


def test_other_machines_need_a_token(tmp_path):
    with started(tmp_path, "--host", "0.0.0.0") as (_, address):
        assert "?token=" in address
        local = address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(local, trust_env=False).status_code == 303
        assert httpx.get(local.partition("?")[0], trust_env=False).status_code == 401


def refused(folder: Path, *options: str) -> int:
    """Exit code of the command with options that it refuses, with a tiny network."""
    checkpoint = write_checkpoint(folder / "tiny.safetensors")
    return main(["--checkpoint", str(checkpoint), "--device", "cpu", *options])


def test_a_port_in_use_is_one_sentence_and_no_address_is_shown(tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert refused(tmp_path, "--port", port) == 2
    assert (
        complaint(capsys) == f"127.0.0.1:{port} cannot be served: choose another --port, or --host."
    )
    assert "Open http" not in caplog.text


@pytest.mark.parametrize("token", ["", "a b", "a&b", "a+b", "a;b", "ä"])
def test_tokens_fit_into_an_address_and_are_not_empty(tmp_path, capsys, monkeypatch, token):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert refused(tmp_path, "--host", "0.0.0.0", "--token", token) == 2
    assert complaint(capsys).startswith("--token takes letters, digits, - and _")
    assert not list(tmp_path.glob(".mcnet-app-*"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--certificate", "absent.pem"], "cannot be used: No such file or directory."),
        (["--certificate", "README.md"], "--certificate and --key cannot be used: "),
        (["--key", "README.md"], "--key is that of a --certificate: give both."),
    ],
)
def test_certificates_that_cannot_be_used_are_one_sentence(tmp_path, capsys, options, sentence):
    assert refused(tmp_path, *options) == 2
    assert sentence in complaint(capsys)


def test_the_network_must_be_there(tmp_path, capsys):
    assert main(["--checkpoint", str(tmp_path / "no.safetensors")]) == 2
    assert "no.safetensors" in complaint(capsys)
