"""What is in the real images."""

import ast
import hashlib
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from toolchain.images import ENVOY, FETCH, SERVING, build
from toolchain.images.contents import IMAGES, server_files
from toolchain.images.guest import Guest
from toolchain.images.python import locked
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

MEGABYTES = {SERVING: 950, ENVOY: 140, FETCH: 40}  # upper limits, to be noticed when a package grows


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_no_larger_than_it_was(archives: dict[str, Path], name: str):
    assert archives[name].stat().st_size < MEGABYTES[name] * 1e6


@pytest.mark.parametrize("name", IMAGES)
def test_no_image_runs_as_root_or_has_a_way_to_become_it(unpacked: Callable, name: str):
    image = unpacked(name)
    assert image.config["User"] == "65532:65532"
    bits = {file: file.lstat().st_mode for file in image.root.rglob("*") if not file.is_symlink()}
    assert not [file for file, mode in bits.items() if mode & (stat.S_ISUID | stat.S_ISGID)]
    assert [file for file, mode in bits.items() if mode & stat.S_IWOTH] == [image.root / "tmp"]


@pytest.mark.parametrize("name", IMAGES)
def test_every_library_that_a_program_needs_is_in_the_image(unpacked: Callable, real_layout: Layout, name: str):
    root = unpacked(name).root
    files = [file for file in root.rglob("*") if file.is_file() and not file.is_symlink()]
    programs = [file for file in files if file.open("rb").read(4) == b"\x7fELF"]
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", Guest.fetch(real_layout).run("readelf", "--dynamic", "--wide", *programs)))
    assert needed <= {file.name for file in files}


def test_the_serving_image_has_the_contract_of_tensorflow_serving(unpacked: Callable):
    image = unpacked(SERVING)
    assert image.config["Entrypoint"] == ["/usr/bin/tf_serving_entrypoint.sh"]
    assert {"MODEL_BASE_PATH=/models", "MODEL_NAME=model"} <= set(image.config["Env"])
    assert set(image.config["ExposedPorts"]) == {"8500/tcp", "8501/tcp"}
    assert "Cmd" not in image.config
    assert (image.root / "usr/bin/tensorflow_model_server").stat().st_mode & 0o111


def test_the_gateway_image_has_no_shell(unpacked: Callable):
    image = unpacked(ENVOY)
    programs = [file for folder in ("bin", "usr/bin", "usr/local/bin", "sbin") for file in (image.root / folder).glob("*")]
    assert [file.name for file in programs] == ["envoy"]


def test_every_module_of_the_serving_image_is_compiled(unpacked: Callable):
    root = unpacked(SERVING).root / "usr"
    sources = list(root.rglob("*.py"))
    missing = [file for file in sources if not list((file.parent / "__pycache__").glob(f"{file.stem}.cpython-*.pyc"))]
    assert len(sources) > 2000
    assert not missing


def test_the_serving_image_has_the_server_and_nothing_else_of_our_packages(unpacked: Callable, real_layout: Layout):
    (packages,) = (unpacked(SERVING).root / "usr/local/lib").glob("python3.*/dist-packages")
    found = {file.relative_to(packages).as_posix() for package in packages.glob("isthmus*") for file in package.rglob("*.py")}
    assert found == set(server_files(real_layout))
    assert not list(packages.glob("pulumi")) + list(packages.glob("keras"))


@pytest.mark.parametrize("name", [ENVOY, FETCH, pytest.param(SERVING, marks=pytest.mark.slow)])
def test_another_build_makes_the_same_bytes(archives: dict[str, Path], real_layout: Layout, tmp_path: Path, name: str):
    cache = tmp_path / "cache"
    cache.mkdir()
    for shared in ("debian", "uv"):
        (cache / shared).symlink_to(real_layout.cache / shared)
    again = build(Layout(real_layout.project, cache), [name])[name]
    try:
        assert _digest(again) == _digest(archives[name])
    finally:
        shutil.rmtree(cache / "images")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


LOCK = """# made by
numpy==1.0 ; python_version < '3.12' \\
    --hash=sha256:aa
    # via x
numpy==2.0 ; python_version >= '3.12' \\
    --hash=sha256:bb
six==1.1 \\
    --hash=sha256:cc
"""


def test_a_lock_is_cut_to_the_packages_that_are_needed_with_their_hashes():
    assert locked(LOCK, {"numpy==1.0"}) == "numpy==1.0 ; python_version < '3.12' \\\n    --hash=sha256:aa\n    # via x\n"


def test_a_package_that_the_lock_lacks_is_named():
    with pytest.raises(PrepareError, match=r"six==2\.0 is needed .* `make lock`"):
        locked(LOCK, {"six==2.0"})


def test_the_serving_image_has_the_modules_of_ours_that_its_server_imports_and_no_others(real_layout: Layout):
    files = server_files(real_layout)
    held = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for path, file in files.items()}
    # The package's own module finds the components when a program asks for them.
    imported = {name: file for module, file in held.items() if module != "isthmus" for name in _imported(file)}
    ours = {name: file for name, file in imported.items() if name.partition(".")[0] in ("isthmus", "isthmus_agent")}
    assert {name: file for name, file in ours.items() if not {name, name.rpartition(".")[0]} & held.keys()} == {}
    used = {prefix for name in ours for prefix in (name, name.rpartition(".")[0], name.partition(".")[0])}
    assert {module for module in held if module not in used and not module.startswith("isthmus.server")} == set()


def _imported(file: Path) -> list[str]:
    """What a module imports, with the names in modules."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [f"{node.module}.{it.name}" for node in nodes if isinstance(node, ast.ImportFrom) and node.module for it in node.names]
    return names + [it.name for node in nodes if isinstance(node, ast.Import) for it in node.names]
