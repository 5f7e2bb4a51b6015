"""Downloads of torch.hub, and its messages."""

import torch

from evaluation.metrics.interface import downloaded


def test_a_download_is_said_on_stderr(tmp_path, monkeypatch, capsys):
    """Results alone stand on stdout, which programs read."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.save({"weight": torch.ones(1)}, tmp_path / "network.pth")
    url = (tmp_path / "network.pth").as_uri()
    with downloaded(url, "a network") as file:
        state = torch.hub.load_state_dict_from_url(url, progress=False)
    assert state["weight"] == 1
    assert file.is_file()
    said = capsys.readouterr()
    assert "Downloading: " in said.err
    assert not said.out
