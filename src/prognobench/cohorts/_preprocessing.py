"""What is done to a film before any model sees it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from prognobench.frame import Document, sha256_json

_RECIPE_VERSION = 1  # raise it with any change of the pixels that a recipe gives


class Preprocessing(Document):
    """A resolved recipe from a film at full resolution to a square of `size` pixels.

    `standard`: minimum to 0 and maximum to 1 over the film, resized with its aspect kept until the long side is
    `size` (bilinear, antialiased), padded with 0 on both sides, stored as 16-bit integers (65535 is 1).

    Examples
    --------
    >>> Preprocessing(size=224).spec()["size"]
    224
    >>> Preprocessing(size=224).key == Preprocessing(size=518).key
    False
    """

    name: Literal["standard"] = "standard"
    size: Annotated[int, Field(ge=1, le=4096)]

    def spec(self) -> dict[str, Any]:
        """Return the recipe with every parameter spelled out; JSON can say it."""
        return {
            "name": self.name,
            "version": _RECIPE_VERSION,
            "size": self.size,
            "steps": [
                {"step": "upright", "by": "EXIF orientation"},
                {"step": "gray", "weights": "ITU-R BT.601"},
                {"step": "scale", "by": "minimum and maximum of the film", "to": [0, 1], "precision": "float32"},
                {"step": "resize", "long_side": self.size, "filter": "bilinear", "antialias": True},
                {"step": "clip", "to": [0, 1]},
                {"step": "pad", "value": 0, "place": "center"},
                {"step": "store", "dtype": "uint16", "factor": 65535},
            ],
        }

    @property
    def key(self) -> str:
        """The SHA-256 of `spec()`: equal keys mean equal pixels."""
        return sha256_json(self.spec())


def scale_to_unit(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `gray` with its minimum at 0 and its maximum at 1; it must hold two values at least."""
    low, high = gray.min(), gray.max()
    scaled: NDArray[np.float32] = gray - low
    scaled /= high - low
    return scaled


def render(scaled: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.uint16]:
    """Return a film of [0, 1] as the square that `preprocessing` asks for.

    Parameters
    ----------
    scaled
        Shape (height, width), from `scale_to_unit`.
    preprocessing
        The recipe.

    Returns
    -------
    ndarray
        Shape (size, size), 16-bit integers.
    """
    size = preprocessing.size
    lines, columns = fitted(scaled.shape[0], scaled.shape[1], size)
    image = Image.fromarray(np.ascontiguousarray(scaled))
    shape = (columns.stop - columns.start, lines.stop - lines.start)
    resized = np.asarray(image.resize(shape, Image.Resampling.BILINEAR)).clip(0, 1)
    square = np.zeros((size, size), dtype=np.uint16)
    square[lines, columns] = np.rint(resized * np.float32(65535)).astype(np.uint16)
    return square


def fitted(height: int, width: int, size: int) -> tuple[slice, slice]:
    """Return the lines and columns that a film of this shape fills in a square of `size` pixels."""
    longest = max(height, width)
    # Integers only, so that no platform rounds a side the other way.
    new_height, new_width = (max(1, (2 * side * size + longest) // (2 * longest)) for side in (height, width))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    return slice(top, top + new_height), slice(left, left + new_width)
