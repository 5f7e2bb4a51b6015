"""Damage valid files: each damaged one is written beside its original."""

from pathlib import Path

import av


def rewritten(path: Path, name: str, data: bytes) -> Path:
    """Write a file of these bytes beside another."""
    place = path.with_name(name)
    place.write_bytes(data)
    return place


def begun_late(path: Path, name: str, num_missing: int) -> Path:
    """Copy a video without its first packets and its sound to the container of ``name``.

    Its times begin at 0.
    """
    place = path.with_name(name)
    with av.open(str(path)) as source, av.open(str(place), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size][num_missing:]
        begin = min(packet.dts for packet in packets)
        for packet in packets:
            packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
            packet.stream = stream
            target.mux(packet)
    return place


def with_cover(path: Path, name: str, picture: bytes) -> Path:
    """Copy an mp4 with the cover of an album, a PNG, as its first stream."""
    data = path.read_bytes()
    start = data.index(b"moov") - 4
    assert start > data.index(b"mdat"), "places of samples would be wrong"
    moov, rest = _split_atom(data[start:])
    header, tracks = _split_atom(moov[8:])
    handler = _atom(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    cover = _atom(b"covr", _atom(b"data", (14).to_bytes(4, "big") + bytes(4) + picture))
    tags = _atom(b"udta", _atom(b"meta", bytes(4) + handler + _atom(b"ilst", cover)))
    return rewritten(path, name, data[:start] + _atom(b"moov", header + tags + tracks) + rest)


def with_unknown_sound(path: Path, name: str) -> Path:
    """Copy an mp4 whose first sound track, of AAC, states an unknown codec."""
    data = path.read_bytes()
    start = data.index(b"mp4a", data.index(b"moov"))
    codec = data[start:].replace(b"mp4a", b"xxxx", 1).replace(b"esds", b"free", 1)
    return rewritten(path, name, data[:start] + codec)


def _atom(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def _split_atom(data: bytes) -> tuple[bytes, bytes]:
    """Split an mp4 after its first atom."""
    length = int.from_bytes(data[:4], "big")
    return data[:length], data[length:]
