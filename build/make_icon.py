#!/usr/bin/env python3
"""Draws the package's icon, build/icon.png: a block of coefficients, of which the first and largest are kept."""
import pathlib
import struct
import zlib

SIDE, CELLS, MARGIN, GAP, CORNER, FINE = 128, 6, 14, 3, 20, 4
GROUND, KEPT, DROPPED = (24, 32, 58), (255, 196, 87), (58, 70, 108)


def colour(x, y):
    """Of a point in a square of side 1, or None outside of the rounded square."""
    dx, dy = max(CORNER - x, x - (SIDE - CORNER), 0), max(CORNER - y, y - (SIDE - CORNER), 0)
    if dx * dx + dy * dy > CORNER * CORNER:
        return None
    pitch = (SIDE - 2 * MARGIN + GAP) / CELLS
    (column, u), (row, v) = divmod(x - MARGIN, pitch), divmod(y - MARGIN, pitch)
    inside = 0 <= column < CELLS and 0 <= row < CELLS and u < pitch - GAP and v < pitch - GAP
    if not inside:
        return GROUND
    order = column + row
    if order > 3:
        return DROPPED
    fade = order / 5
    return tuple(round(a + (b - a) * fade) for a, b in zip(KEPT, DROPPED))


def pixel(x, y):
    """The mean of FINE x FINE points, so that edges are smooth."""
    points = [colour(x + (i + 0.5) / FINE, y + (j + 0.5) / FINE) for i in range(FINE) for j in range(FINE)]
    seen = [point for point in points if point]
    if not seen:
        return bytes(4)
    return bytes(round(sum(point[c] for point in seen) / len(seen)) for c in range(3)) + bytes([255 * len(seen) // len(points)])


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(SIDE)) for y in range(SIDE))
header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0)
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
(pathlib.Path(__file__).parent / "icon.png").write_bytes(png)
