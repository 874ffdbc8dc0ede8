"""Writes surfaces.txt: pairs of masks, how far SciPy says that their surfaces are apart, and their largest connected parts. Needs Debian's
python3-scipy.

A line: name | why | extents (depth, height, width) | spacing | labels found, a digit a voxel | labels wanted | HD95 of classes 1 and 2 in
mm, - where a mask is empty | what is found with the largest part of each class alone. HD95 is MedPy's: the 95th percentile of the distances
of each surface voxel to the other surface, both directions together; a surface voxel goes when the mask is eroded by one.
"""
import pathlib
import numpy as np, scipy
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, label

rng = np.random.default_rng(95)
out = [f"SciPy {scipy.__version__}, NumPy {np.__version__}\n"]

def surface(mask): return mask ^ binary_erosion(mask, generate_binary_structure(3, 1))

def hd95(found, wanted, spacing):
    if not found.any() or not wanted.any(): return '-'
    f, w = surface(found), surface(wanted)
    distances = [distance_transform_edt(~w, sampling=spacing)[f], distance_transform_edt(~f, sampling=spacing)[w]]
    return repr(float(np.percentile(np.hstack(distances), 95)))

def largest(labels):
    kept = np.zeros_like(labels)
    for k in (1, 2):
        parts, count = label(labels == k)
        if count: kept[parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])] = k
    return kept

def digits(a): return ''.join(map(str, a.ravel()))

def case(name, why, found, wanted, spacing):
    out.append(f"{name} | {why} | {' '.join(map(str, found.shape))} | {' '.join(map(str, spacing))} | {digits(found)} | {digits(wanted)} | "
               f"{hd95(found == 1, wanted == 1, spacing)} {hd95(found == 2, wanted == 2, spacing)} | {digits(largest(found))}\n")

def balls(shape, seed):
    r = np.random.default_rng(seed)
    a = np.zeros(shape, int)
    z, y, x = np.mgrid[tuple(slice(n) for n in shape)]
    for k in (1, 2, 1):
        c, radius = [r.uniform(0, n) for n in shape], r.uniform(1, min(shape) / 2)
        a[(z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2 < radius ** 2] = k
    return a

for n, (shape, spacing) in enumerate([((7, 9, 8), (1, 1, 1)), ((6, 10, 9), (3, .7, .8)),
                                      ((5, 6, 12), (.5, 2.5, 1.25)), ((12, 4, 4), (1, 1, 5))]):
    case(f'balls {n}', 'parts of two classes, cut by the edge', balls(shape, 2 * n), balls(shape, 2 * n + 1), spacing)
noise = lambda shape, share: (rng.random(shape) < share) * rng.integers(1, 3, shape)
case('noise', 'many small parts', noise((6, 7, 8), .4), noise((6, 7, 8), .4), (2, 1, 1.5))
case('one slice', 'a depth of 1', noise((1, 9, 9), .5), noise((1, 9, 9), .5), (5, 1, 1))
one, other = np.zeros((5, 5, 5), int), np.zeros((5, 5, 5), int)
one[0, 0, 0], other[4, 4, 4] = 1, 1
case('far corners', 'one voxel each', one, other, (1, 2, 3))
other[2, 2, 2] = 2
case('class 2 missing', 'an empty mask has no distance', one, other, (1, 1, 1))
full = np.ones((3, 4, 5), int)
case('everything', 'the edge of the volume is a surface', full, full, (1, 1, 1))
(pathlib.Path(__file__).parent / 'surfaces.txt').write_text(''.join(out))
