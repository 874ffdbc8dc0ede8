"""Writes orientation.txt: volumes that lie in many ways, and what nibabel makes of them. Needs Debian's python3-nibabel and python3-scipy.

A line of kind "ras": name | why | extents | affine | numbers || extents | affine | numbers of nibabel.as_closest_canonical, which turns and
mirrors axes until they run to the right, the front and the top. A line of kind "onto": name | why | extents | affine | numbers || extents |
affine of a grid | numbers resampled onto it by nibabel.processing.resample_from_to, linearly for an image and at the nearest voxel for
labels. Numbers are float32 in hex, the first axis fastest; affines the 12 float64 of their three rows in hex.
"""
import itertools, pathlib
import nibabel as nib, numpy as np, scipy
from nibabel.processing import resample_from_to

rng = np.random.default_rng(27)
out = [f"nibabel {nib.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}\n"]

def affine_hex(a): return np.ascontiguousarray(a[:3], '<f8').tobytes().hex()

def volume_hex(a): return np.asarray(a, '<f4').tobytes(order='F').hex()

def part(data, affine): return f"{' '.join(map(str, data.shape))} | {affine_hex(affine)} | {volume_hex(data)}"

def ras(name, why, affine, shape=(2, 3, 4)):
    data = np.arange(np.prod(shape), dtype='f4').reshape(shape)
    turned = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    out.append(f"ras {name} | {why} | {part(data, affine)} || {part(turned.get_fdata(), turned.affine)}\n")

def rotation(*angles):
    m = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        i, j = [k for k in range(3) if k != axis]
        r = np.eye(3)
        r[i, i], r[i, j], r[j, i], r[j, j] = c, -s, s, c
        m = r @ m
    return m

def affine(linear, at=(10, -20, 30)):
    m = np.eye(4)
    m[:3, :3], m[:3, 3] = linear, at
    return m

for axes in itertools.permutations(range(3)):
    for signs in itertools.product((1, -1), repeat=3):
        linear = np.zeros((3, 3))
        for file_axis, scanner in enumerate(axes): linear[scanner, file_axis] = signs[file_axis] * (1, 2, 3)[file_axis]
        code = ''.join(nib.aff2axcodes(affine(linear)))
        ras(code, 'one of the 48 ways in which axes may run', affine(linear))
for number in range(24):
    spacing = np.diag(rng.uniform(.3, 5, 3))
    ras(f'oblique {number}', 'any turn, anisotropic', affine(rotation(*rng.uniform(-180, 180, 3)) @ spacing))
for number in range(8):
    ras(f'sheared {number}', 'a gantry tilted: axes not at right angles',
        affine(rotation(*rng.uniform(-180, 180, 3)) @ (np.eye(3) + np.triu(rng.uniform(-.4, .4, (3, 3)), 1))
               @ np.diag(rng.uniform(.5, 3, 3))))
ras('four axes', 'channels stay last', affine(np.diag([-1., -1, 2])), (2, 3, 2, 2))

def onto(name, why, shape, own, grid_shape, grid, labels):
    data = rng.integers(0, 4, shape).astype('f4') if labels else rng.normal(0, 1, shape).astype('f4')
    image = nib.Nifti1Image(data, own)
    there = resample_from_to(image, (grid_shape, grid), order=0 if labels else 1, mode='grid-constant',
                             cval=0 if labels else float(data.min()))
    out.append(f"onto {name} | {why} | {part(data, own)} || {part(there.get_fdata(), grid)}\n")

for labels in (False, True):
    kind = 'labels' if labels else 'image'
    onto(f'{kind} shifted', 'by part of a voxel',
         (5, 6, 7), affine(np.eye(3), (0, 0, 0)), (5, 6, 7), affine(np.eye(3), (.3, -.4, 1.2)), labels)
    onto(f'{kind} finer', 'another spacing and size', (5, 6, 7), affine(np.diag([2., 2, 2]), (0, 0, 0)),
         (9, 10, 11), affine(np.diag([1.1, 1.2, 1.3]), (.25, .15, -.35)), labels)
    onto(f'{kind} oblique', 'turned, mirrored, and partly outside', (6, 7, 8), affine(rotation(10, -20, 170), (3, 6, 1)),
         (7, 6, 5), affine(rotation(3, 5, 1) @ np.diag([-1., 1.1, .9]), (5.3, -.7, .4)), labels)
(pathlib.Path(__file__).parent / 'orientation.txt').write_text(''.join(out))
