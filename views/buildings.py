"""What two cameras of one building see of each held-out picture: `python views/buildings.py` writes views/buildings.npz.

`near` is at the thing and sees a part of it (three of eight columns are cut off), `far` sees all of it, turned by 18° and with noise. The
arrays are named by the label `view` of the fleet's devices; `labels` are the right classes. From the held-out pictures of models/digits, of
which nothing was trained.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PICTURES = Path("models/digits/evaluation.npz")
FILE = Path(__file__).with_suffix(".npz")
SEED = 7
_STEPS = 16
"""Of brightness, as the pictures themselves have them."""


def views_of(pictures: NDArray[np.float32]) -> dict[str, NDArray[np.float16]]:
    """By view, [examples, 8, 8, 1]. pictures: the same, each number from 0 to 1."""
    random, ink = np.random.default_rng(SEED), pictures[..., 0]
    near = ink.copy()
    near[:, :, :3] = 0
    far = ndimage.rotate(ink, 18, axes=(2, 1), reshape=False, order=1)
    seen = {"near": near + random.normal(0, 0.15, ink.shape), "far": far + random.normal(0, 0.2, ink.shape)}
    return {name: (np.round(np.clip(it, 0, 1) * _STEPS) / _STEPS).astype(np.float16)[..., None] for name, it in seen.items()}


def main() -> None:
    """Writes the file."""
    with np.load(PICTURES) as data:
        np.savez_compressed(FILE, labels=data["y"].astype(np.uint8), **views_of(data["x"]))


if __name__ == "__main__":
    main()
