"""A server with a tiny network for all tests of a file."""

from collections.abc import Iterator

import httpx
import pytest

from tests.web.serving import Running, served, tiny_studio


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    with served(tiny_studio(tmp_path_factory.mktemp("web"))) as running:
        yield running


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory) -> Iterator[Running]:
    """A server whose network takes pictures as a whole, whether there is a face or not."""
    with served(tiny_studio(tmp_path_factory.mktemp("plain"), faces=False)) as running:
        yield running


@pytest.fixture
def client(server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def plain_client(plain_server) -> Iterator[httpx.Client]:
    with plain_server.client() as client:
        yield client
