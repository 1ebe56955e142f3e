"""From a rollout's file of views to the group that travels with its release, and what that is worth."""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.arguments.components import EdgeSettings
from isthmus.arguments.fleet_file import FleetSettings
from isthmus.compile.answering import edge_answers
from isthmus.compile.key import code_hash
from isthmus.errors import Problem, property_path
from isthmus.fusion.learn import learn
from isthmus.fusion.measures import Estimate
from isthmus.fusion.validate import Figures, MemberFigures, validate
from isthmus.fusion.views import LABELS, member_problems, views_of
from isthmus.release.cache import default_cache_directory
from isthmus.release.manifest import Release
from isthmus.words import percent, plain
from isthmus_agent.core.fusion import Fusion
from isthmus_agent.formats import digests, fusion_group
from isthmus_agent.formats.bundle import GROUP_FILE, WAIT_MS
from isthmus_agent.formats.fusion_group import VIEW, FusionGroup
from isthmus_agent.formats.numbers import FormatError

# What numpy and zipfile raise on damaged, cut, encrypted and oddly packed files, and on arrays that would have to be unpickled.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
# What a group's file and its figures follow from, beside their inputs.
_CODE = ("fusion/*.py", "compile/answering.py", "isthmus_agent/core/fusion.py", "isthmus_agent/formats/evidence.py")
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SeenExamples:
    """Labelled examples as each view shows them. arrays: by view, [examples, …]; labels: [examples], unchecked. digest: of the file."""

    arrays: Arrays
    labels: NDArray[Any]
    digest: str


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """What the devices of a class answer together. wait_ms: see `FusionArgs`."""

    group: FusionGroup
    figures: Figures
    wait_ms: int

    @property
    def signed(self) -> dict[str, Any]:
        """As it is signed with the release: the bundle's value for GROUP."""
        return {GROUP_FILE: self.group.to_bytes().decode("ascii"), WAIT_MS: self.wait_ms}

    def explain(self) -> str:
        """What the group is worth beside its best member, and what each member is."""
        found = self.figures
        best = next(it for it in found.members if it.name == found.best)
        lines = [
            f"{_share(found.group)} right; its best member, {found.best}, {_share(best.alone)}: {_points(found.gain)} points above it, on "
            f"{found.examples:,} examples that it was not learned from"
            + ("" if found.gain.low > 0 else "; no gain is shown, so that members answer as well alone"),
        ]
        lost = (("one missing", found.lost_missing), ("one that lies", found.lost_lying), ("one of each", found.lost_lying_and_missing))
        if said := [f"{_points(it)} points with {words}" for words, it in lost if it is not None]:
            lines.append(f"it loses {', '.join(said)}")
        weights = Fusion(self.group).weights([it.name for it in self.group.members])
        each = (f"{it.name} {percent(it.alone.value)}, weight {weights[it.name]:.2f}" for it in found.members)
        lines.append(f"members: {'; '.join(each)}")
        lines.append(
            f"a word has {plain(found.answer_bytes)} bytes in the mean, clip {plain(self.group.clip)} nats; "
            f"file {digests.PREFIX}{digests.shown(self.group.digest)}… for release {digests.PREFIX}{digests.shown(self.group.release)}…"
        )
        return "\n".join(f"{'  ' if place else ''}{line}" for place, line in enumerate(lines))

    def output(self) -> dict[str, Any]:
        """For the component's output `plan`, of JSON's types alone."""
        found = self.figures
        best = next(it for it in found.members if it.name == found.best)
        return {
            "digest": self.group.digest,
            "accuracy": asdict(found.group),
            "best": {"member": found.best, **asdict(best.alone)},
            "gain": asdict(found.gain),
            "members": [it.name for it in self.group.members],
        }


def read_views(file: Path, where: str) -> tuple[SeenExamples | None, list[Problem]]:
    """The views and labels in an .npz, and all that can be seen to be wrong with them before they are answered. where: for problems."""
    wanted = f"an .npz with one array for each member, and `{LABELS}`"
    try:
        content = file.read_bytes()
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is one array")
        with archive:
            arrays = dict(archive)
    except _UNREADABLE as error:
        what = f"{str(file)!r} cannot be read: {getattr(error, 'strerror', None) or 'it is no sound .npz file of numbers'}"
        return None, [Problem(where, what, wanted)]
    problems = member_problems([name for name in arrays if name != LABELS], where)
    if LABELS not in arrays:
        return None, [*problems, Problem(where, f"{str(file)!r} has no array `{LABELS}`", "the right class of each example")]
    counts = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        problems.append(Problem(where, f"views do not match: examples of each are {each}", "the same examples in all, in the same order"))
    labels = arrays.pop(LABELS)
    return SeenExamples(arrays, labels, hashlib.sha256(content).hexdigest()), problems


def read_group(args: EdgeSettings, fleet: FleetSettings, path: str) -> tuple[SeenExamples | None, list[Problem]]:
    """The views of a rollout, where it names a file of them, and what is wrong with it for this fleet. path: of the arguments."""
    if args.fusion is None:
        return None, []
    where = f"{path}.fusion.views"
    seen, problems = read_views(Path(args.fusion.views), where)
    if seen is None:
        return None, problems
    if len(seen.arrays) == 1:
        what = f"has one view, {next(iter(seen.arrays))}: a group of one answers as its member does"
        problems.append(Problem(where, what, "two views or more", "add views of the same examples, or remove `fusion`"))
    known = " or ".join(sorted(seen.arrays))
    viewing = {index: device for index, device in enumerate(fleet.devices) if VIEW in device.labels}
    for index, device in viewing.items():
        view, place = device.labels[VIEW], property_path(["devices", index, "labels", VIEW], f"{path}.fleet")
        if view not in seen.arrays:
            problems.append(Problem(place, f"{view!r} is no view of {args.fusion.views}", known, "correct it, or add that view's array"))
        elif fleet.group_of(device.name) is None:
            what, fix = f"{device.name} is in no group, where others would hear it", "name it in one of `groups`, or remove the label"
            problems.append(Problem(place, what, "a device of one of the fleet file's `groups`", fix))
    if fleet.devices and seen.arrays and not viewing:
        what = f"no device of {args.fleet} stands for one of its views"
        problems.append(Problem(where, what, f"devices with the label `{VIEW}`: {known}", f"add it: `labels: {{{VIEW}: …}}`"))
    return seen, problems


def group_plans(args: EdgeSettings, seen: SeenExamples | None, releases: Mapping[str, Release], path: str) -> dict[str, GroupPlan]:
    """By class of devices; empty where there are no views. What was learned before of the same release and file is not learned again.

    Args:
        releases: by class.
        path: property path of the arguments, for messages.

    Raises:
        InputError: views are none of the model's, or do not match.
        SourceError: the interpreter refuses the model.
    """
    if args.fusion is None or seen is None:
        return {}
    made: dict[str, tuple[FusionGroup, Figures]] = {}
    for release in releases.values():
        if release.digest not in made:
            made[release.digest] = _learned(release, seen, args.fusion.clip_nats, path)
    return {name: GroupPlan(*made[release.digest], args.fusion.wait_ms) for name, release in releases.items()}


def tell(groups: Mapping[str, GroupPlan], info: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Says what each group is worth, once where classes have the same release; and where they have not, that they never answer together."""
    digests_of = {name: it.group.release for name, it in groups.items()}
    for digest in (several := dict.fromkeys(digests_of.values())):
        classes = [name for name in groups if digests_of[name] == digest]
        info(f"together ({', '.join(classes)}): {groups[classes[0]].explain()}")
    if len(several) > 1:
        warn(f"classes of devices have {len(several)} releases, and only devices with the same one answer together")


def _learned(release: Release, seen: SeenExamples, clip_nats: float | None, path: str) -> tuple[FusionGroup, Figures]:
    key = json.dumps([release.digest, seen.digest, clip_nats, code_hash(_CODE, ())])
    file = default_cache_directory() / "groups" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    with suppress(OSError, ValueError, TypeError, LookupError, FormatError):
        kept = json.loads(file.read_bytes())
        return fusion_group.read(kept["group"].encode(), release.digest), _figures(kept["figures"])
    where = f"{path}.fusion.views"
    views = views_of(edge_answers(release, seen.arrays, f"{path}.model", where), seen.labels, where)
    group, figures = learn(views, release.digest, clip_nats), validate(views, clip_nats)
    with suppress(OSError):
        _keep(file, json.dumps({"group": group.to_bytes().decode("ascii"), "figures": asdict(figures)}).encode())
    return group, figures


def _keep(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".")
    with os.fdopen(descriptor, "wb") as written:
        written.write(content)
    Path(temporary).rename(file)


def _figures(value: Mapping[str, Any]) -> Figures:
    """The inverse of `asdict`."""

    def estimate(its: Mapping[str, float] | None) -> Estimate | None:
        return None if its is None else Estimate(**its)

    members = tuple(MemberFigures(it["name"], Estimate(**it["alone"]), estimate(it["without"])) for it in value["members"])
    estimates = {name: estimate(it) for name, it in value.items() if name.startswith(("lost_", "gain", "group"))}
    return Figures(**{**value, "members": members, **estimates})


def _share(found: Estimate) -> str:
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def _points(found: Estimate) -> str:
    return f"{100 * found.value:.2f} ({100 * found.low:.2f} to {100 * found.high:.2f})"
