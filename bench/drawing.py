"""A small SVG canvas: what bench/plots.py needs, and no more. Pixels; y grows downwards."""

import math
from xml.sax.saxutils import escape

INK = "#1f2328"
SOFT = "#59636e"
GRID = "#e3e6ea"
PAPER = "#ffffff"
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Canvas:
    """Light paper with a rim, so that it reads on light and dark pages alike."""

    def __init__(self, width, height, title, subtitle):
        self.width, self.height, self.title = width, height, title
        self.parts = []
        self.rect(0.5, 0.5, width - 1, height - 1, PAPER, rim="#d1d9e0", radius=8)
        self.text(24, 36, title, size=19, bold=True)
        for at, line in enumerate(subtitle):
            self.text(24, 60 + 19 * at, line, size=13.5, colour=SOFT)

    def rect(self, x, y, width, height, colour, rim=None, radius=0):
        rim = f' stroke="{rim}"' if rim else ""
        radius = f' rx="{radius}"' if radius else ""
        self.parts.append(f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
                          f'fill="{colour}"{rim}{radius}/>')

    def line(self, points, colour, width=1.0, dashes=None):
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        dashes = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{number(width)}" '
                          f'stroke-linejoin="round"{dashes}/>')

    def dot(self, x, y, colour, radius=3.6, hollow=False):
        inside, rim = (PAPER, colour) if hollow else (colour, PAPER)
        self.parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{inside}" stroke="{rim}" '
                          f'stroke-width="{"1.6" if hollow else "0.7"}"/>')

    def text(self, x, y, text, size=12.5, colour=INK, bold=False, anchor="start", turned=False):
        weight = ' font-weight="600"' if bold else ""
        turn = f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
        self.parts.append(f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{colour}" '
                          f'text-anchor="{anchor}"{weight}{turn}>{escape(text)}</text>')

    def legend(self, x, y, entries):
        """entries: (label, colour, hollow), side by side."""
        for label, colour, hollow in entries:
            self.dot(x + 5, y - 4.5, colour, 5, hollow)
            self.text(x + 16, y, label, size=13)
            x += 16 + 7.6 * len(label) + 30

    def svg(self):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" font-family="{FONT}">\n'
                f"<title>{escape(self.title)}</title>\n")
        return head + "\n".join(self.parts) + "\n</svg>\n"


class Axis:
    """From a value to a pixel, on a straight or a logarithmic scale."""

    def __init__(self, least, most, begin, end, logarithmic=False):
        self.shape = math.log if logarithmic else float
        self.least, self.most, self.begin, self.end = self.shape(least), self.shape(most), begin, end

    def at(self, value):
        return self.begin + (self.shape(value) - self.least) / (self.most - self.least) * (self.end - self.begin)
