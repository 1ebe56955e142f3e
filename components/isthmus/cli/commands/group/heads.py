"""`--way features` and `--way auto`: both ways compared, and the head compiled as any model is."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from isthmus.cli.commands.compile.releases import as_data, compile_all, requests_for
from isthmus.cli.commands.group.options import Options
from isthmus.compile.answering import Embeddings, edge_embeddings
from isthmus.compile.heads import RECIPES, written
from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.fusion.embedded import embedded_of
from isthmus.fusion.head import learn_head
from isthmus.fusion.validate import Part
from isthmus.fusion.views import Views
from isthmus.fusion.ways import LOG_ODDS, WAYS, Comparison, compare
from isthmus.release.cache import ReleaseCache, default_cache_directory
from isthmus.release.manifest import EDGE, Release


@dataclass(frozen=True)
class Compared:
    """embeddings: of the views. head: its release; its accuracy is of `held_out` examples, which it was not learned from."""

    comparison: Comparison
    embeddings: Embeddings
    head: Release
    held_out: int

    def to_data(self) -> dict[str, Any]:
        """For `--json`."""
        layer = {"layer": self.embeddings.layer, "operator": self.embeddings.name}
        return asdict(self.comparison) | {"embedding": layer, "head": as_data(self.head, self.head.manifest.model)}


def way_problems(options: Options) -> list[Problem]:
    """What is wrong with --way, --layer and --head."""
    problems = []
    if options.way not in WAYS:
        problems.append(Problem("--way", f"found {options.way[:40]!r}", f"one of {', '.join(WAYS)}"))
    elif options.way == LOG_ODDS:
        for option, value in (("--layer", options.layer), ("--head", options.head)):
            if value is not None:
                problems.append(Problem(option, f"stands beside --way {LOG_ODDS}", "--way features or --way auto"))
    elif options.views is None and options.outputs is not None:
        what = f"{options.way} stands beside --outputs, which do not say what a layer makes of the views"
        problems.append(Problem("--way", what, "--views FILE.npz"))
    if options.layer is not None and options.layer < 1:
        problems.append(Problem("--layer", f"found {options.layer}", "1 or more, as `isthmus partition` counts layers"))
    return problems


@dataclass(frozen=True)
class Learned:
    """What is known before. arrays: what each member sees. views: what it answers. evidence_bytes: mean of one answer on the wire."""

    release: Release
    arrays: Mapping[str, NDArray[Any]]
    views: Views
    parts: Sequence[Part]
    evidence_bytes: float


def compared(options: Options, learned: Learned) -> Compared:
    """Both ways on the same examples, and the compiled head of those that the first fold leaves. Raises IsthmusError."""
    views, arrays, parts = learned.views, learned.arrays, learned.parts
    if len(views.members) < 2:
        raise InputError([Problem("--way", "the group has one member", f"two or more, or --way {LOG_ODDS}: there is nothing to fuse")])
    embeddings = edge_embeddings(learned.release, arrays, options.layer, "MODEL", "--views")
    embedded = embedded_of(embeddings.values, views.labels, views.classes, "--views")
    input_numbers = int(np.prod(next(iter(arrays.values())).shape[1:]))
    comparison = compare(parts, embedded, learned.evidence_bytes, input_numbers, options.way)
    held = parts[0].examples
    head, here = learn_head(embedded.of(~held)), embedded.of(held)
    inputs = head.inputs(here.values, np.ones(here.values.shape[:2], np.bool_))
    with tempfile.TemporaryDirectory(prefix="isthmus-head-") as folder:
        request = written(Path(folder), head.kernel, head.bias, inputs, here.labels)
        requests = requests_for(request, RECIPES, None)
        made = asyncio.run(compile_all(requests, None, ReleaseCache(default_cache_directory()), Console(stderr=True)))
    if options.head is not None:
        _copied(made, options.head)
    return Compared(comparison, embeddings, made, int(held.sum()))


def _copied(release: Release, file: Path) -> None:
    try:
        shutil.copyfile(release.path(release.manifest.variant(EDGE).files[0]), file)
    except OSError as error:
        raise IsthmusError(f"--head: {str(file)!r} cannot be written: {error.strerror or error}") from error
