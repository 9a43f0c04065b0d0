"""An image that is built again takes the place of the old one, which is not left without a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from conformance.containers import images

NAME, KEPT = "proxyproof/rebuilt:latest", "proxyproof/rebuilt:kept"


@pytest.fixture
def place(client: docker.DockerClient) -> Iterator[None]:
    """Where the images of a test go."""
    yield
    for name in (NAME, KEPT):
        if client.images.list(name=name):
            client.images.remove(name, force=True)


def built(client: docker.DockerClient, folder: Path, content: str) -> str:
    """The id of an image that holds this content, and the name."""
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY content /content\n")
    (folder / "content").write_text(content)
    images.build_one(client, name=NAME, context=images.context(folder))
    identifier: str = client.images.get(NAME).id
    return identifier


@pytest.mark.usefixtures("place")
def test_the_old_one_goes(client: docker.DockerClient, tmp_path: Path) -> None:
    old = built(client, tmp_path, "old")
    assert built(client, tmp_path, "old") == old
    assert built(client, tmp_path, "new") != old
    assert old not in {image.id for image in client.images.list()}


@pytest.mark.usefixtures("place")
def test_one_that_is_in_use_stays(client: docker.DockerClient, tmp_path: Path) -> None:
    named = built(client, tmp_path, "named")
    client.images.get(NAME).tag(KEPT)
    used = built(client, tmp_path, "used")
    container = client.containers.create(NAME, "/content", network_mode="none")
    try:
        new = built(client, tmp_path, "new")
        assert {named, used, new} <= {image.id for image in client.images.list(all=True)}
    finally:
        container.remove()
        client.images.remove(used)
