"""The drawing of one synthetic frontal chest film: tissue adds density, air takes it away, a film curve shows it.

Coordinates are the patient's: x from -1 to 1 toward the image's right (the patient's left), y from -1 to 1 downward,
both in half image heights. Everything is drawn in float64 and rounded once, so that a film is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Grid: TypeAlias = NDArray[np.float64]

_FIELD = 80  # side of the patient's map of opacities over [-1, 1]²
# Half width of the body from the neck over the shoulders to the flanks.
_OUTLINE_Y = np.array([-1.60, -0.98, -0.86, -0.76, -0.62, -0.40, -0.22, 0.10, 1.60])
_OUTLINE_X = np.array([0.200, 0.220, 0.380, 0.720, 1.020, 1.060, 0.940, 0.880, 0.920])
# The lungs' rim from apex (0) to base (1): outer and inner half width, and the outer wall's distance across it as a
# share of the horizontal one.
_RIM_T = np.linspace(-0.1, 1.2, 131)
_REST = np.clip(1 - _RIM_T, 0, 1)
_RIM_OUTER = np.where(_RIM_T > 0, 0.27 + 0.70 * np.sqrt(np.clip(1 - _REST**2.7, 0, 1)), 0.0) + 0.05 * _RIM_T
_RIM_INNER = 0.105 + 0.17 * np.exp(-np.maximum(_RIM_T, 0) / 0.07) + 0.02 * _RIM_T
_RIM_ACROSS = 1 / np.sqrt(1 + np.minimum(0.45 * _REST**1.7 / np.sqrt(1.001 - _REST**2.7), 4) ** 2)
_LETTERS = {
    "C": "01110100011000010000100001000101110",
    "E": "11111100001000011110100001000011111",
    "H": "10001100011000111111100011000110001",
    "I": "01110001000010000100001000010001110",
    "L": "10000100001000010000100001000011111",
    "N": "10001110011010110011100011000110001",
    "S": "01111100001000001110000010000111110",
    "T": "11111001000010000100001000010000100",
    "Y": "10001100010101000100001000010000100",
}


@dataclass(frozen=True)
class Look:
    """How a center's films look, whoever is on them.

    Parameters
    ----------
    contrast
        Exponent of the film curve; above 1 is harder.
    brightness
        What the curve is lifted by, in shares of the full range.
    grain
        Standard deviation of the noise, in shares of the full range.
    border
        Width of the collimated border, in shares of the image height.
    border_level
        Its gray level: 0 black, 1 white.
    aspect
        Image width by height.
    bits
        8, or 12 in a 16-bit file.
    """

    contrast: float
    brightness: float
    grain: float
    border: float
    border_level: float
    aspect: float
    bits: int


@dataclass(frozen=True)
class Anatomy:
    """What stays the same over the films of a patient; lengths in half image heights."""

    width: float
    apex: float
    dome: float
    dome_step: float
    heart: float
    heart_tilt: float
    aorta: float
    rib_spacing: float
    rib_slope: float
    rib_phase: float
    clavicle: float
    breast: float
    thickness: float
    vessels: Grid  # rows of x, y, caliber, weight
    field: Grid  # where opacities come first: the higher, the earlier


@dataclass(frozen=True)
class Pose:
    """What differs from film to film of a patient."""

    view: str
    tilt: float  # radians in the image plane
    turn: float  # of the body axis: the front of the chest moves against the spine
    shift_x: float
    shift_y: float
    scale: float
    inspiration: float  # 1 is deep
    exposure: float
    blur: float
    devices: int  # electrodes and a line, on portable films


def draw_anatomy(seeds: np.random.SeedSequence, sex: str) -> Anatomy:
    """Draw a patient's anatomy; it depends on `seeds` and `sex` alone."""
    rng, vessel_rng, field_rng = (np.random.Generator(np.random.PCG64(child)) for child in seeds.spawn(3))
    z = rng.normal(size=12).clip(-2, 2)
    female = sex == "F"
    return Anatomy(
        width=0.735 + 0.028 * z[0] - 0.02 * female,
        apex=-0.76 + 0.02 * z[1],
        dome=0.46 + 0.035 * z[2],
        dome_step=0.055 + 0.015 * z[3],
        heart=1.0 + 0.08 * z[4],
        heart_tilt=0.62 + 0.09 * z[5],
        aorta=0.085 + 0.012 * z[6],
        rib_spacing=0.128 + 0.006 * z[7],
        rib_slope=0.34 + 0.06 * z[8],
        rib_phase=0.25 * z[9],
        clavicle=-0.60 + 0.02 * z[10],
        breast=(0.13 + 0.03 * z[11]) if female else 0.0,
        thickness=1.0 + 0.05 * z[11],
        vessels=_vessel_tree(vessel_rng),
        field=_opacity_field(field_rng),
    )


def draw_pose(rng: np.random.Generator, view: str) -> Pose:
    """Draw how one film was taken."""
    z = rng.normal(size=8).clip(-2, 2)
    portable = view == "AP"
    return Pose(
        view=view,
        tilt=0.018 * z[0] * (1.6 if portable else 1.0),
        turn=0.020 * z[1] * (1.6 if portable else 1.0),
        shift_x=0.020 * z[2],
        shift_y=0.025 * z[3] + (0.03 if portable else 0.0),
        scale=1.0 + 0.025 * z[4],
        inspiration=(0.35 if portable else 0.95) + 0.14 * z[5],
        exposure=0.10 * z[6],
        blur=0.9 if portable else 0.45,
        devices=int(rng.integers(0, 4)) if portable else 0,
    )


def draw_film(
    anatomy: Anatomy, pose: Pose, look: Look, extent: float, size: int, rng: np.random.Generator
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Draw one film.

    Parameters
    ----------
    anatomy, pose, look
        Patient, film and center.
    extent
        Share of the lung area that opacities cover, from 0 to 1.
    size
        Image height in pixels; the width follows from the look's aspect.
    rng
        Draws the grain, the texture of the opacities and the place of devices.

    Returns
    -------
    numpy.ndarray
        Gray levels of shape (size, width): uint8, or uint16 from 0 to 4095.
    """
    density, _ = draw_density(anatomy, pose, look.aspect, extent, size, rng)
    levels = _expose(density, pose, look, rng)
    _collimate(levels, look)
    _mark(levels)
    if look.bits == 8:
        return np.rint(levels * 255).astype(np.uint8)
    return np.rint(levels * 4095).astype(np.uint16)


def draw_density(
    anatomy: Anatomy, pose: Pose, aspect: float, extent: float, size: int, rng: np.random.Generator
) -> tuple[Grid, NDArray[np.bool_]]:
    """Draw what the rays pass through, before any film curve, and the lungs' mask; see `draw_film`."""
    x, y = _coordinates(pose, aspect, size)
    side, base = np.abs(x), _base(anatomy, pose, x)
    body = _body(x, y, anatomy)
    air, wall = _lungs(x, y, base, anatomy)
    heart, vessels_of_the_middle = _mediastinum(x, y, anatomy, pose)
    lung = air > 0.35
    aerated = air * (1 - 0.80 * heart)
    bone = _ribs(side, y, wall, anatomy, pose) + _spine(x, y)
    _add_between(bone, x, y, (-1.1, 0.08), lambda u, v: _shoulder_girdle(u, v, anatomy, pose))
    branches = _splat(anatomy.vessels, pose, aspect, size) * aerated
    opacity = _opacities(x, y, air, lung & (heart < 0.5), anatomy, extent, rng)
    density = 0.74 * anatomy.thickness * body
    density -= (0.62 + 0.06 * pose.inspiration) * aerated
    belly = _step(y - base, 0.022)
    density += body * (0.17 * heart * (1 - 0.9 * belly) + 0.13 * vessels_of_the_middle + 0.24 * belly + bone)
    _add_between(density, x, y, (0.5, 1.0), lambda u, v: -_stomach(u, v))
    if anatomy.breast:
        _add_between(density, x, y, (-0.18, 0.55), lambda u, v: _breasts(u, v, anatomy))
    density += 0.15 * branches * (1 - 0.6 * opacity)
    density += 0.46 * opacity * (0.35 + 0.65 * aerated) * (air > 0.02)
    _add_between(density, x, y, (-1.1, 0.03), lambda u, v: -_airways(u, v, pose))
    if pose.devices:
        density += _devices(pose, aspect, size, rng)
    return density, lung


def _coordinates(pose: Pose, aspect: float, size: int) -> tuple[Grid, Grid]:
    half = size / 2
    rows = (np.arange(size) + 0.5) / half - 1
    columns = (np.arange(width_of(size, aspect)) + 0.5) / half - width_of(size, aspect) / size
    across, down = columns[None, :] - pose.shift_x, rows[:, None] - pose.shift_y
    cos, sin = np.cos(pose.tilt) / pose.scale, np.sin(pose.tilt) / pose.scale
    return cos * across + sin * down, cos * down - sin * across


def width_of(size: int, aspect: float) -> int:
    """Return an image's width in pixels."""
    return round(size * aspect)


def _add_between(
    film: Grid, x: Grid, y: Grid, between: tuple[float, float], draw: Callable[[Grid, Grid], Grid]
) -> None:
    """Add `draw(x, y)` to the rows of `film` that reach into the heights `between`, and compute no others."""
    rows = np.flatnonzero((y.max(axis=1) >= between[0]) & (y.min(axis=1) <= between[1]))
    if rows.size:
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        film[part] += draw(x[part], y[part])


def _step(distance: Grid, softness: float) -> Grid:
    """Go smoothly from 0 at -`softness` to 1 at +`softness`."""
    t = distance * (0.5 / softness)
    t += 0.5
    np.maximum(t, 0, out=t)
    np.minimum(t, 1, out=t)
    bend = t * -2
    bend += 3
    t *= t
    t *= bend
    return t


def _ellipse(x: Grid, y: Grid, cx: float, cy: float, a: float, b: float, angle: float = 0.0) -> Grid:
    """Return an approximate signed distance to an ellipse's rim, positive inside."""
    cos, sin = np.cos(angle), np.sin(angle)
    u: Grid = x * (cos / a) + (y * (sin / a) - (cos * cx + sin * cy) / a)
    v = y * (cos / b) - (x * (sin / b) + (cos * cy - sin * cx) / b)
    u *= u
    v *= v
    u += v
    np.sqrt(u, out=u)
    u *= -min(a, b)
    u += min(a, b)
    return u


def _base(anatomy: Anatomy, pose: Pose, x: Grid) -> Grid:
    """Return the height of the diaphragm's domes; the right one (image left) stands higher."""
    low = anatomy.dome + 0.13 * (pose.inspiration - 0.6)
    right = low - anatomy.dome_step + np.where(x > -0.36, 0.50, 1.45) * (x + 0.36) ** 2
    left = low + np.where(x < 0.38, 0.35, 1.45) * (x - 0.38) ** 2
    return np.asarray(right + (left - right) * _step(x, 0.12))


def _body(x: Grid, y: Grid, anatomy: Anatomy) -> Grid:
    half = np.interp(y, _OUTLINE_Y, _OUTLINE_X) * (anatomy.width / 0.735)
    mask = _step(half - np.abs(x), 0.03)
    depth: Grid = 0.72 + 0.28 * np.sqrt(np.clip(1 - (x / half) ** 2, 0, 1))
    return mask * depth


def _lungs(x: Grid, y: Grid, base: Grid, anatomy: Anatomy) -> tuple[Grid, Grid]:
    """Return the depth of air from 0 to 1, and the distance to the chest wall from inside."""
    t = (y - anatomy.apex) / (0.66 - anatomy.apex)
    side = np.abs(x) * np.where(x < 0, 0.985, 1.015)
    wall = (anatomy.width * np.interp(t, _RIM_T, _RIM_OUTER) - side) * np.interp(t, _RIM_T, _RIM_ACROSS)
    inner = side - np.interp(t, _RIM_T, _RIM_INNER)
    floor = (base - y) * 0.75
    mask = _step(wall, 0.022) * _step(inner, 0.030) * _step(floor, 0.022)
    depth = 0.56 + 0.44 * np.sqrt(np.clip(np.minimum(wall, np.minimum(inner, floor) * 1.4) / 0.26, 0, 1))
    return mask * depth, wall


def _mediastinum(x: Grid, y: Grid, anatomy: Anatomy, pose: Pose) -> tuple[Grid, Grid]:
    """Return the heart's mask (apex to the image's right) and that of the great vessels."""
    grow = anatomy.heart * (1.17 if pose.view == "AP" else 1.0)
    drop = 0.10 * (pose.inspiration - 0.6)
    at, low = x - pose.turn, y - drop
    left = _step(_ellipse(at, low, 0.120, 0.29, 0.360 * grow, 0.240 * grow, anatomy.heart_tilt), 0.022)
    right = _step(_ellipse(at, low, -0.050, 0.28, 0.150 * grow, 0.245 * grow), 0.022)
    trunk = _step(_ellipse(at, low, 0.075, 0.05, 0.145, 0.20), 0.03)
    heart = 1 - (1 - left) * (1 - right) * (1 - 0.8 * trunk)
    wide = 1.22 if pose.view == "AP" else 1.0
    band = _step((0.125 + 0.03 * (y < 0) * y**2) * wide - np.abs(at - 0.01), 0.022)
    knob = _step(_ellipse(at, y, 0.125 * wide, -0.27, anatomy.aorta * wide, anatomy.aorta * 1.15), 0.018)
    return heart, 1 - (1 - 0.85 * band) * (1 - knob)


def _ribs(side: Grid, y: Grid, wall: Grid, anatomy: Anatomy, pose: Pose) -> Grid:
    """Return the density of all ribs at once: a stack of like curves is one curve of a periodic height."""
    fan = 1 + 0.5 * np.clip(-y - 0.1, -0.3, 0.7)  # upper ribs bend more
    fall = anatomy.rib_slope * (0.55 + 0.45 * pose.inspiration)
    back = y - fan * (fall * side * (0.75 + 0.32 * side) - 0.03 * np.exp(-((side - 0.2) ** 2) / 0.02))
    front = y + fan * (0.75 * side - 0.20) - 0.04 * pose.inspiration
    behind = _rib_profile(back / anatomy.rib_spacing + anatomy.rib_phase, 0.27)
    before = _rib_profile(front / (1.12 * anatomy.rib_spacing) + 0.35 + anatomy.rib_phase, 0.31)
    behind *= _step(side - 0.10, 0.02) * _step(back + 0.80, 0.01) * _step(0.52 - back, 0.02)
    before *= _step(side - 0.25, 0.05) * _step(front + 0.55, 0.02) * _step(0.35 - front, 0.04)
    inside = _step(wall + 0.055, 0.012)
    rim = np.exp(-((wall + 0.012) ** 2) / 0.0012)
    clear = 1.0 if pose.view == "PA" else 0.75
    return inside * clear * ((0.150 + 0.10 * rim) * behind + 0.090 * before)


def _rib_profile(height: Grid, half: float) -> Grid:
    """Return a tube's shadow, its cortex brighter than its core, at every whole `height`."""
    off = np.abs(height - np.rint(height)) / half
    return _step(1 - off, 0.16) * (0.62 + 0.38 * np.minimum(off * off, 1) ** 2)


def _spine(x: Grid, y: Grid) -> Grid:
    middle = _step(0.085 + 0.012 * y - np.abs(x), 0.014)
    off = y / 0.118 - np.rint(y / 0.118)
    disc = np.exp(-((np.abs(off) - 0.5) ** 2) / 0.008)
    pedicle = np.exp(-((np.abs(x) - 0.055) ** 2) / 0.0002 - off**2 / 0.02)
    return middle * (0.12 - 0.055 * disc) + 0.04 * pedicle


def _shoulder_girdle(x: Grid, y: Grid, anatomy: Anatomy, pose: Pose) -> Grid:
    """Return clavicles, scapulae and the heads of the humeri."""
    portable = pose.view == "AP"
    side = np.abs(x - 0.6 * pose.turn)
    lie = anatomy.clavicle - (0.07 if portable else 0.0)
    line = lie + 0.10 * np.cos(np.clip((side - 0.08) / 0.62, 0, 1) * np.pi) - 0.10 * (side - 0.08)
    off = np.abs(y - line) / (0.030 + 0.012 * np.exp(-((side - 0.1) ** 2) / 0.006))
    clavicle = _step(1 - off, 0.22) * (0.7 + 0.3 * np.minimum(off, 1) ** 3)
    clavicle *= _step(side - 0.085, 0.012) * _step(0.80 - side, 0.02)
    out = 0.0 if portable else 0.15  # on a PA film the scapulae are turned out of the lungs
    at = np.abs(x)
    rim = _ellipse(at, y, 0.66 + out, -0.30, 0.13, 0.33, 0.22)
    blade = _step(rim, 0.02)
    edge = np.exp(-((rim - 0.012) ** 2) / 0.00025)
    humerus = _step(_ellipse(at, y, 0.98, -0.56, 0.13, 0.15), 0.02) + _step(0.085 - np.abs(at - 1.02), 0.02) * (
        y > -0.56
    )
    return 0.15 * clavicle + 0.05 * blade + 0.05 * edge + 0.13 * np.minimum(humerus, 1)


def _stomach(x: Grid, y: Grid) -> Grid:
    """Return the air under the left dome."""
    return 0.22 * _step(_ellipse(x, y, 0.30, 0.76, 0.15, 0.085, 0.1), 0.04)


def _breasts(x: Grid, y: Grid, anatomy: Anatomy) -> Grid:
    return anatomy.breast * _step(_ellipse(np.abs(x), y, 0.46, 0.22, 0.33, 0.30), 0.04) * _step(y - 0.05, 0.30)


def _airways(x: Grid, y: Grid, pose: Pose) -> Grid:
    at = x - 0.4 * pose.turn
    trachea = _step(0.040 - np.abs(at - 0.006), 0.014) * _step(-0.17 - y, 0.03)
    depth = y + 0.17
    bronchi = np.exp(-((np.abs(at) - 0.02 - 0.95 * depth) ** 2) / 0.0006)
    return 0.12 * trachea + 0.05 * bronchi * _step(depth, 0.02) * _step(0.15 - depth, 0.03)


def _vessel_tree(rng: np.random.Generator) -> Grid:
    """Grow the arteries of both lungs from the hila, all branches of a generation at once."""
    grown = []
    for sign, hilum, roots in ((-1.0, 0.02, 6), (1.0, -0.02, 6)):
        turn = np.linspace(-1.2, 1.45, roots) + 0.14 * rng.normal(size=roots)
        start = np.column_stack([np.full(roots, 0.165), np.full(roots, hilum) + 0.05 * np.sin(turn)])
        caliber, length = 0.020 * np.exp(0.15 * rng.normal(size=roots)), 0.15
        for _ in range(5):
            bend = turn + 0.30 * rng.normal(size=turn.size)
            reach = length * np.exp(0.2 * rng.normal(size=turn.size))
            along = np.linspace(0, 1, 40)[None, :]
            angle = turn[:, None] + along * (bend - turn)[:, None]
            path_x = start[:, :1] + np.cumsum(np.cos(angle), axis=1) * (reach / 40)[:, None]
            path_y = start[:, 1:] + np.cumsum(np.sin(angle), axis=1) * (reach / 40)[:, None]
            wide = np.broadcast_to(caliber[:, None] * (1 - 0.25 * along), path_x.shape)
            weight = np.broadcast_to((reach / 40)[:, None], path_x.shape)
            grown.append(np.stack([sign * path_x, path_y, wide, weight], axis=-1).reshape(-1, 4))
            fork = 0.16 + 0.24 * rng.random(turn.size)
            turn = np.concatenate([bend - fork, bend + fork])
            start = np.tile(np.column_stack([path_x[:, -1], path_y[:, -1]]), (2, 1))
            caliber, length = np.tile(0.70 * caliber, 2), 0.80 * length
    return np.concatenate(grown)


def _splat(points: Grid, pose: Pose, aspect: float, size: int) -> Grid:
    """Lay a cloud of path points (x, y, caliber, weight) on the film as tubes, one blur per class of caliber."""
    from scipy import ndimage

    width, half = width_of(size, aspect), size / 2
    cos, sin = np.cos(pose.tilt) * pose.scale, np.sin(pose.tilt) * pose.scale
    column = (cos * points[:, 0] - sin * points[:, 1] + pose.shift_x + width / size) * half - 0.5
    row = (sin * points[:, 0] + cos * points[:, 1] + pose.shift_y + 1) * half - 0.5
    film = np.zeros((size, width))
    edges = [0.0, 0.0062, 0.0105, 1.0]
    for low, high in pairwise(edges):
        chosen = (points[:, 2] > low) & (points[:, 2] <= high)
        if not chosen.any():
            continue
        sigma = max(float(points[chosen, 2].mean()) * half * 0.55, 0.45)
        # A path of length l px and peak p spreads l·p·sqrt(2π)·sigma over its pixels.
        mass = points[chosen, 3] * half * np.sqrt(2 * np.pi) * sigma * (points[chosen, 2] / 0.012)
        layer = _deposit(row[chosen], column[chosen], mass, (size, width))
        film += ndimage.gaussian_filter(layer, sigma, truncate=3.0)
    return np.minimum(film, 2.2)


def _deposit(row: Grid, column: Grid, mass: Grid, shape: tuple[int, int]) -> Grid:
    """Share every point's mass among its four pixels."""
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    down, right = row - top, column - left
    layer = np.zeros(shape[0] * shape[1])
    for step_down, step_right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        r, c = top + step_down, left + step_right
        share = mass * (down if step_down else 1 - down) * (right if step_right else 1 - right)
        inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
        layer += np.bincount(r[inside] * shape[1] + c[inside], share[inside], layer.size)
    return layer.reshape(shape)


def _opacity_field(rng: np.random.Generator) -> Grid:
    """Draw where a patient's opacities come first: patchy, more often low and at the rim."""
    from scipy import ndimage

    coarse = ndimage.zoom(rng.normal(size=(10, 10)), _FIELD / 10, order=3, mode="nearest")
    fine = ndimage.zoom(rng.normal(size=(20, 20)), _FIELD / 20, order=3, mode="nearest")
    y, x = np.mgrid[-1 : 1 : _FIELD * 1j, -1 : 1 : _FIELD * 1j]
    lean = 0.9 * y + 1.1 * np.abs(x) + 0.35 * rng.normal() * np.sign(x)
    return np.asarray(0.75 * coarse + 0.55 * fine + lean, dtype=np.float64)


def _opacities(
    x: Grid, y: Grid, air: Grid, lung: NDArray[np.bool_], anatomy: Anatomy, extent: float, rng: np.random.Generator
) -> Grid:
    """Return opacities from 0 to about 1 that cover the share `extent` of `lung`."""
    from scipy import ndimage

    drift = ndimage.zoom(rng.normal(size=(12, 12)), _FIELD / 12, order=1)
    mottle: Grid = ndimage.gaussian_filter(rng.normal(size=x.shape), x.shape[0] / 110, truncate=3.0)
    mottle /= mottle.std()
    if extent <= 0:
        return np.zeros_like(x)
    place = [(y + 1) * (_FIELD - 1) / 2, (x + 1) * (_FIELD - 1) / 2]
    field = ndimage.map_coordinates(anatomy.field + 0.25 * drift, place, order=1, mode="nearest") + 0.16 * mottle
    inside = field[lung]
    threshold = np.quantile(inside, 1 - min(extent, 1.0))
    spread = inside.std()
    rim, core = _step(field - threshold, 0.35 * spread), _step(field - threshold - 0.7 * spread, 0.6 * spread)
    haze = (0.55 * rim + 0.45 * core) * (1 + 0.13 * mottle)
    opacity: Grid = np.clip(haze, 0, 1.3) * np.minimum(air / 0.5, 1)
    return opacity


def _devices(pose: Pose, aspect: float, size: int, rng: np.random.Generator) -> Grid:
    """Return what lies on a portable film: electrodes with their wires, and a central line."""
    half_width = aspect * 0.8
    paths = []
    for _ in range(pose.devices):
        x, y = half_width * rng.uniform(-0.75, 0.75), rng.uniform(-0.45, 0.45)
        angle = np.linspace(0, 2 * np.pi, 60)
        paths.append(np.column_stack([x + 0.022 * np.cos(angle), y + 0.022 * np.sin(angle)]))
        along = np.linspace(0, 1, 300)
        paths.append(np.column_stack([x + 0.25 * np.sign(x) * along**2, y + (0.9 - y) * along]))
    if pose.devices > 1:
        along = np.linspace(0, 1, 300)
        paths.append(np.column_stack([-0.24 + 0.15 * along**0.5, -0.78 + 0.82 * along]))
    points = np.concatenate(paths)
    step = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    step = np.where(step > 0.05, 0.0, step)
    return 0.20 * _splat(np.column_stack([points, np.full(len(points), 0.008), step]), pose, aspect, size)


def _expose(density: Grid, pose: Pose, look: Look, rng: np.random.Generator) -> Grid:
    """Turn density into gray levels from 0 to 1 as a detector with automatic exposure does."""
    from scipy import ndimage

    soft: Grid = ndimage.gaussian_filter(density, pose.blur * density.shape[0] / 320, truncate=3.0)
    height, width = soft.shape
    middle = soft[height // 8 : -height // 8 : 2, width // 8 : -width // 8 : 2]
    dark, bright = np.quantile(middle, [0.02, 0.985])
    reach = (bright - dark) * (1.15 if pose.view == "AP" else 1.0)
    levels = 0.10 + 0.80 * (soft - dark) / reach
    levels = np.clip(levels, 0, 1.15) ** (look.contrast * np.exp(-pose.exposure)) + look.brightness
    grain: Grid = ndimage.gaussian_filter(rng.normal(size=soft.shape), 0.6, truncate=3.0)
    grain *= look.grain * (1.4 if pose.view == "AP" else 1.0) / grain.std()
    shown: Grid = np.clip(levels * (1 + 0.35 * grain) + 0.75 * grain, 0, 1)
    return shown


def _collimate(levels: Grid, look: Look) -> None:
    edge = round(look.border * levels.shape[0])
    if edge:
        inside = levels[edge:-edge, edge:-edge].copy()
        levels[:] = look.border_level
        levels[edge:-edge, edge:-edge] = inside


def _mark(levels: Grid) -> None:
    """Burn in the side marker and, on every film alike, the word SYNTHETIC."""
    times = max(1, levels.shape[0] // 200)
    for word, scale, top, left in (
        ("SYNTHETIC", times, levels.shape[0] - 9 * times, 0),
        ("L", 2 * times, 2 * times, levels.shape[1] - 16 * times),
    ):
        for index, letter in enumerate(word):
            dots = np.array([dot == "1" for dot in _LETTERS[letter]]).reshape(7, 5)
            # On a plate of its own, so that a white border does not swallow it.
            plate = np.pad(np.kron(dots, np.ones((scale, scale))), scale)
            at = left + index * 6 * scale
            levels[top : top + plate.shape[0], at : at + plate.shape[1]] = 0.02 + 0.93 * plate
