"""What an image is built from: its files, in one order and without dates; bases and wheels by their tools."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import cast

import docker
import pytest

from conformance.containers import bases, images, wheelhouse
from conformance.containers.bases import Base
from conformance.containers.engine import EngineError
from proxyproof import data


def test_the_same_files_are_the_same_context_whenever_they_were_written(tmp_path: Path) -> None:
    for name, order in (("one", ("b", "a")), ("two", ("a", "b"))):
        (tmp_path / name).mkdir()
        for number, file in enumerate(order):
            (tmp_path / name / file).write_text(file)
            os.utime(tmp_path / name / file, (number, number))
    one, two = (images.context(tmp_path / name) for name in ("one", "two"))
    assert one.getvalue() == two.getvalue()


def test_a_context_holds_the_folder_and_what_is_added(tmp_path: Path) -> None:
    wheel = tmp_path / "proxyproof-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    with tarfile.open(fileobj=images.context(data.path("fixtures", "images", "agent"), [wheel])) as archive:
        assert archive.getnames() == ["Dockerfile", f"wheelhouse/{wheel.name}"]
        content = archive.extractfile(f"wheelhouse/{wheel.name}")
        assert content is not None
        assert content.read() == b"wheel"


@pytest.mark.parametrize("image", images.IMAGES, ids=lambda image: image.name)
def test_every_dockerfile_can_stand_on_another_base(image: images.Image) -> None:
    text = (data.path("fixtures", "images", image.folder) / "Dockerfile").read_text()
    assert "\nARG BASE_IMAGE=python:3.13-slim\n" in text
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) == {"${BASE_IMAGE}"}


def test_a_base_is_made_of_its_suite_with_its_packages_from_the_mirror() -> None:
    base = Base(suite="trixie", packages=("python3-venv", "redis-server"))
    command = bases.command(base, Path("/tmp/trixie.tar"), mirror="http://mirror/debian")
    assert command[0] == "mmdebstrap"
    assert "--include=python3-venv,redis-server" in command
    assert command[-3:] == ["trixie", "/tmp/trixie.tar", "http://mirror/debian"]
    assert bases.command(base, Path("/tmp/trixie.tar"), mirror="")[-1] == "/tmp/trixie.tar"


def test_wheels_are_selected_for_the_python_of_the_image_not_for_that_of_the_suite() -> None:
    options = wheelhouse.selection("3.13", "aarch64")
    assert {"--only-binary=:all:", "--python-version=3.13", "--abi=cp313", "--abi=abi3"} <= set(options)
    assert "--platform=manylinux_2_28_aarch64" in options


def test_nothing_is_begun_for_a_folder_that_is_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(bases, "make", lambda client, base: made.append(base))
    with pytest.raises(EngineError, match=r"is no checkout of proxyproof .* name one with --source"):
        images.build(cast("docker.DockerClient", None), offline=True, source=tmp_path, announce=print)
    assert made == []
