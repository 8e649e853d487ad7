"""Drawn faces: a look (who), an expression (which emotion, how strong) and a moment (talking, blinking, swaying) give one frame.

Coordinates are in a square of 100 × 100 units, y downwards. Needs Pillow (extra `demo` or `train`).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from omnimer_ray.corpora.generated.sentences import Identities
from omnimer_ray.errors import MissingExtraError

if TYPE_CHECKING:
    from PIL import ImageDraw

Frame = npt.NDArray[np.uint8]  # (height, width, 3)
Colour = tuple[int, int, int]


class Expression(NamedTuple):
    """Movements of a face, each 0 at rest and about 1 if an emotion shows it fully."""

    smile: float = 0.0  # corners of the mouth up; below 0: down
    open: float = 0.0  # mouth
    width: float = 0.0  # mouth; below 0: narrow
    teeth: float = 0.0
    raised: float = 0.0  # brows
    frown: float = 0.0  # inner ends of the brows down; below 0: up
    eyes: float = 0.0  # wide; below 0: narrow
    wrinkle: float = 0.0  # nose
    skew: float = 0.0  # one corner of the mouth pulled up
    droop: float = 0.0  # head down; below 0: thrown back
    tremble: float = 0.0


EXPRESSION = {
    "neutral": Expression(),
    "happiness": Expression(smile=1.0, open=0.45, width=0.6, teeth=1.0, raised=0.25, eyes=-0.35),
    "surprise": Expression(open=1.5, width=-0.6, raised=1.1, eyes=1.0, droop=-0.7),
    "sadness": Expression(smile=-0.9, width=-0.2, raised=0.2, frown=-1.0, eyes=-0.5, droop=1.0),
    "anger": Expression(smile=-0.4, open=0.5, width=0.3, teeth=1.0, raised=-0.5, frown=1.2, eyes=0.1, droop=0.2),
    "disgust": Expression(smile=-0.5, width=0.1, raised=-0.4, frown=0.5, eyes=-0.8, wrinkle=1.0, skew=1.0),
    "fear": Expression(smile=-0.5, open=0.7, width=0.7, raised=0.8, frown=-0.9, eyes=0.9, tremble=1.0),
}


class Look(NamedTuple):
    """The person in the picture, and the background."""

    skin: Colour
    hair: Colour
    background: Colour
    light: float  # factor on all colours
    face_width: float
    face_height: float
    eye_distance: float
    brow_thickness: float
    hair_style: int  # 0 short, 1 long, 2 headscarf, 3 bald
    stripes: int  # of the background


class Moment(NamedTuple):
    """The state of a face in one frame."""

    expression: Expression
    talking: float  # 0-1, opens the mouth
    blink: bool
    sway_x: float
    sway_y: float


SKINS: dict[Identities, tuple[Colour, ...]] = {
    "mini": ((224, 172, 132), (198, 138, 98), (165, 110, 74), (236, 196, 164), (140, 90, 60)),
    "pretraining": ((211, 155, 115), (182, 124, 86), (230, 184, 148), (152, 100, 68), (245, 208, 178)),
}
HAIRS: dict[Identities, tuple[Colour, ...]] = {
    "mini": ((30, 24, 22), (70, 45, 30), (46, 70, 110), (120, 50, 60)),
    "pretraining": ((45, 35, 30), (95, 65, 40), (60, 100, 80), (90, 60, 110)),
}
BACKGROUNDS: dict[Identities, tuple[Colour, ...]] = {
    "mini": ((96, 128, 160), (150, 160, 130), (180, 150, 120), (110, 100, 140), (200, 200, 195)),
    "pretraining": ((130, 110, 100), (120, 150, 150), (170, 170, 210), (90, 110, 90), (210, 190, 150)),
}


def look(random: Random, identities: Identities) -> Look:
    """A person drawn from one of the two disjoint palettes."""
    return Look(
        random.choice(SKINS[identities]),
        random.choice(HAIRS[identities]),
        random.choice(BACKGROUNDS[identities]),
        random.uniform(0.82, 1.08),
        random.uniform(33, 38),
        random.uniform(42, 46),
        random.uniform(14, 17),
        random.uniform(2.2, 3.6),
        random.randrange(4),
        random.randrange(5),
    )


def scaled(expression: Expression, strength: float) -> Expression:
    """The same expression, weaker or stronger."""
    return Expression(*(strength * value for value in expression))


def draw(look: Look, moment: Moment, size: int) -> Frame:
    """One frame of size × size pixels, smoothed by drawing it twice as large."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingExtraError("pillow", "demo") from None
    image = Image.new("RGB", (2 * size, 2 * size), _lit(look.background, look.light))
    pen = _Pen(ImageDraw.Draw(image), 2 * size / 100, look, moment)
    for part in (_background, _hair_behind, _head, _brows, _eyes, _nose, _mouth):
        part(pen)
    return np.asarray(image.reduce(2))


class _Pen:
    """ImageDraw in units of 1/100 of the frame, moved with the head."""

    def __init__(self, canvas: ImageDraw.ImageDraw, unit: float, look: Look, moment: Moment) -> None:
        self.canvas, self.unit, self.look, self.moment = canvas, unit, look, moment
        self.x0 = 50 + moment.sway_x
        self.y0 = 53 + moment.sway_y + 5 * moment.expression.droop

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (self.x0 + x) * self.unit, (self.y0 + y) * self.unit

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        self.canvas.ellipse((*self.at(x - rx, y - ry), *self.at(x + rx, y + ry)), fill=_lit(fill, self.look.light))

    def polygon(self, points: Any, fill: Colour) -> None:
        self.canvas.polygon([self.at(x, y) for x, y in points], fill=_lit(fill, self.look.light))

    def line(self, points: Any, fill: Colour, width: float) -> None:
        self.canvas.line(
            [self.at(x, y) for x, y in points], fill=_lit(fill, self.look.light), width=round(width * self.unit), joint="curve"
        )


def _background(pen: _Pen) -> None:
    shade = _lit(pen.look.background, 0.85 * pen.look.light)
    for stripe in range(pen.look.stripes):
        left = 100 * (stripe + 0.25) / pen.look.stripes
        pen.canvas.rectangle((left * pen.unit, 0, (left + 50 / pen.look.stripes) * pen.unit, 100 * pen.unit), fill=shade)


def _hair_behind(pen: _Pen) -> None:
    look = pen.look
    if look.hair_style == 1:
        pen.ellipse(0, 8, look.face_width + 7, look.face_height + 8, look.hair)
    elif look.hair_style == 2:
        pen.ellipse(0, 4, look.face_width + 8, look.face_height + 8, look.hair)
        pen.polygon(((-46, 70), (-30, 10), (30, 10), (46, 70)), look.hair)
    elif look.hair_style == 0:
        pen.ellipse(0, -8, look.face_width + 3, look.face_height + 2, look.hair)


def _head(pen: _Pen) -> None:
    look = pen.look
    dark = _lit(look.skin, 0.9)
    if look.hair_style in (0, 3):
        pen.ellipse(-look.face_width, 0, 5, 8, dark)
        pen.ellipse(look.face_width, 0, 5, 8, dark)
    pen.ellipse(0, 0, look.face_width, look.face_height, look.skin)


def _brows(pen: _Pen) -> None:
    face, look = pen.moment.expression, pen.look
    colour = (40, 28, 24)
    base = -20 - 7 * face.raised
    for side in (-1, 1):
        inner, outer = (side * 6, base + 6 * face.frown), (side * (look.eye_distance + 10), base - 3 * face.frown + 2)
        middle = (side * (look.eye_distance - 1), base - 2 - face.frown)
        pen.line((inner, middle, outer), colour, look.brow_thickness)


def _eyes(pen: _Pen) -> None:
    face, look = pen.moment.expression, pen.look
    height = 0.0 if pen.moment.blink else max(5.0 + 4.2 * face.eyes, 0.8)
    for side in (-1, 1):
        x, y = side * look.eye_distance, -8.0
        if height:
            pen.ellipse(x, y, 8, height, (250, 250, 250))
            pen.ellipse(x, y, min(4.0, height), min(4.0, height), (25, 20, 20))
        pen.line(((x - 8, y), (x, y - height), (x + 8, y)), (50, 35, 30), 1.2)


def _nose(pen: _Pen) -> None:
    wrinkle, dark = pen.moment.expression.wrinkle, _lit(pen.look.skin, 0.7)
    pen.line(((-4, 9 - 2 * wrinkle), (0, 11 - 2 * wrinkle), (4, 9 - 2 * wrinkle)), dark, 1.6)
    if wrinkle > 0.2:
        for y in (-4, 0, 4):
            pen.line(((-6, y - 2), (0, y + 1), (6, y - 2)), dark, 1.2 * wrinkle + 0.4)
        for side in (-1, 1):
            pen.line(((side * 7, 7), (side * 14, 14), (side * 16, 22)), dark, 1.4)


def _mouth(pen: _Pen) -> None:
    face = pen.moment.expression
    x = np.linspace(-1, 1, 13)
    bow = 1 - x**2
    middle = 24 - 8 * face.smile * (x**2 - 0.4) - 5 * face.skew * np.clip(x, 0, 1)
    gap = 1.0 + 8 * face.open + 5 * pen.moment.talking
    along = x * (14 + 5 * face.width)
    upper, lower = middle - 0.4 * gap * bow - 2.5 * max(face.skew, 0) * bow, middle + 0.8 * gap * bow
    outline = list(zip([*along, *along[::-1]], [*upper, *lower[::-1]], strict=True))
    pen.polygon(outline, (70, 15, 20))
    if face.teeth > 0.2:
        pen.polygon(list(zip([*along, *along[::-1]], [*upper, *(upper + 0.45 * gap * bow)[::-1]], strict=True)), (245, 245, 240))
    pen.line([*outline, outline[0]], (165, 60, 65), 2.0)


def _lit(colour: Colour, light: float) -> Colour:
    red, green, blue = (min(255, max(0, round(light * part))) for part in colour)
    return red, green, blue
