"""Writes preprocessing.txt: small volumes and what SciPy makes of them at other places. Needs Debian's python3-scipy.

A case is four lines: name | extents in | extents out | 12 numbers that turn (i, j, k, 1) of the result, k being the depth, into places of
the input; why it is here; image and labels in; image and labels out. Images are float32 in hex, labels uint16.
"""
import pathlib
import numpy as np, scipy
from scipy.ndimage import map_coordinates, zoom

rng = np.random.default_rng(11)
out = [f"SciPy {scipy.__version__}, NumPy {np.__version__}\n"]

def hexes(a, kind): return np.ascontiguousarray(a, kind).tobytes().hex()

def case(name, why, shape, result, m, extend):
    image, labels = rng.normal(0, 1, shape).astype('f4'), rng.integers(0, 4, shape).astype('u2')
    k, j, i = np.mgrid[tuple(slice(n) for n in result)].astype('f8')
    m = np.asarray(m, 'f8').reshape(3, 4)
    x, y, z = (row[0] * i + row[1] * j + row[2] * k + row[3] for row in m)
    if extend: x, y, z = (np.clip(v, 0, n - 1) for v, n in zip((x, y, z), shape[::-1]))
    fill = dict(mode='grid-constant')
    a = map_coordinates(image.astype('f8'), (z, y, x), order=1, cval=image.min(), **fill)
    # order 0 of map_coordinates rounds halves its own way; these cases have none
    b = map_coordinates(labels, (z, y, x), order=0, cval=0, **fill)
    out.append(f"{name} | {' '.join(map(str, shape))} | {' '.join(map(str, result))} | "
               f"{' '.join(map(repr, map(float, m.ravel())))} | {'extend' if extend else 'air'}\n{why}\n"
               f"{hexes(image, '<f4')} {hexes(labels, '<u2')}\n{hexes(a, '<f4')} {hexes(b, '<u2')}\n")

case('same', 'nothing moves', (3, 4, 5), (3, 4, 5), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], True)
case('finer', 'more voxels than there were', (3, 4, 5), (5, 7, 9), [.55, 0, 0, .03, 0, .57, 0, .02, 0, 0, .49, .01], True)
case('coarser', 'fewer', (6, 7, 8), (3, 3, 4), [2.1, 0, 0, .3, 0, 2.3, 0, .4, 0, 0, 1.9, .2], True)
case('beyond the edge', 'the edge voxel goes on', (3, 3, 3), (3, 3, 7), [.9, 0, 0, -1.7, 0, 1, 0, .1, 0, 0, 1, .1], True)
case('turned', 'all axes at once, air outside', (5, 6, 7), (5, 6, 7), [.94, .21, -.1, .3, -.2, .95, .15, .2, .12, -.13, .97, .1], False)
case('shifted by whole voxels', 'air comes in', (3, 4, 5), (3, 4, 5), [1, 0, 0, 2, 0, 1, 0, -1, 0, 0, 1, 0], False)
case('mirrored', 'left to right', (2, 3, 4), (2, 3, 4), [-1, 0, 0, 3, 0, 1, 0, 0, 0, 0, 1, 0], False)
case('thin', 'one slice, as a picture is', (1, 6, 7), (1, 6, 7), [.98, .17, 0, .1, -.17, .98, 0, .2, 0, 0, 1, 0], False)

# SciPy's own resizing about the same middle: grid_mode keeps edges where they are, which is the same where extents divide evenly.
image = rng.normal(0, 1, (4, 6, 8)).astype('f4')
half = zoom(image.astype('f8'), .5, order=1, grid_mode=True, mode='nearest')
out.append(f"spacing doubled | 4 6 8 | 2 3 4 | zoom\nToSpacing at twice the distance\n"
           f"{hexes(image, '<f4')} {hexes(image * 0, '<u2')}\n{hexes(half, '<f4')} {hexes(half * 0, '<u2')}\n")
double = zoom(image.astype('f8'), 2, order=1, grid_mode=True, mode='nearest')
out.append(f"spacing halved | 4 6 8 | 8 12 16 | zoom\nToSpacing at half the distance\n"
           f"{hexes(image, '<f4')} {hexes(image * 0, '<u2')}\n{hexes(double, '<f4')} {hexes(double * 0, '<u2')}\n")
(pathlib.Path(__file__).parent / 'preprocessing.txt').write_text(''.join(out))
