"""Writes transforms.txt: inputs and what SciPy and PyWavelets make of them. Needs Debian's python3-scipy and python3-pywt.

One case is four lines: name | codec | shape; why it is here; the input; the coefficients in our order. Numbers are float32 in hex.
"""
import itertools, pathlib
import numpy as np, pywt, scipy
from scipy.fft import dctn

rng = np.random.default_rng(20240301)
out = []

def hexes(a): return np.asarray(a, dtype='<f4').tobytes().hex()

def case(name, codec, why, x, y):
    out.append(f"{name} | {codec} | {' '.join(map(str, x.shape))}\n{why}\n{hexes(x)}\n{hexes(y)}\n")

def parts(n, b):
    full, rest = n // b * b, n % b
    return ([(0, full, b)] if full else []) + ([(full, n, rest)] if rest else [])

def dct(x, blocks):
    """x: (maps, d, h, w). Regions by axis, then maps, then blocks, each row-major."""
    out = []
    for (d0, d1, bd), (h0, h1, bh), (w0, w1, bw) in itertools.product(*(parts(n, b) for n, b in zip(x.shape[1:], blocks))):
        for m in range(x.shape[0]):
            for d, h, w in itertools.product(range(d0, d1, bd), range(h0, h1, bh), range(w0, w1, bw)):
                out.append(dctn(x[m, d:d+bd, h:h+bh, w:w+bw].astype('f8'), type=2, norm='ortho').ravel())
    return np.concatenate(out)

def wavelet(x, family, levels):
    """x: (maps, spatial axes...), none of length 1 at any level."""
    axes = tuple(range(1, x.ndim))
    c = pywt.wavedecn(x.astype('f8'), family, mode='periodization', level=levels, axes=axes)
    bands = [c[0]] + [d[k] for d in c[1:] for k in sorted(d)]
    return np.concatenate([b.ravel() for b in bands])

def photo(h, w):
    y, x = np.mgrid[0:h, 0:w]
    picture = 128 + 60*np.sin(x/7.0 + y/13.0) + 40*((x//9 + y//11) % 2) + rng.normal(0, 4, (h, w))
    return np.clip(np.round(picture), 0, 255)

image = photo(33, 30).astype('f4')[None]
for block in (16, 8, 4):
    x = rng.normal(size=(1, 1, 32, 32)).astype('f4')
    case(f'dct {block}, whole blocks', f'dct block={block}', 'the matrix, its scale and the order of blocks',
         x[:, 0][None], dct(x, (1, block, block)))
case('dct, picture with ragged edges', 'dct', 'shorter blocks at two edges, and the order of regions',
     image[None], dct(image[:, None], (1, 16, 16)))
x = rng.normal(size=(3, 1, 7, 7)).astype('f4')
case('dct, map smaller than a block', 'dct', 'one short block only', x[:, 0][None], dct(x, (1, 16, 16)))
x = rng.normal(size=(2, 9, 17, 18)).astype('f4')
case('dct, ragged volume', 'dct', '3D blocks of 4 x 8 x 8, all eight regions', x[None], dct(x, (4, 8, 8)))
x = rng.normal(size=(3, 300)).astype('f4')
case('dct, lines', 'dct', '1D blocks of 16 and a short one', x, dct(x[:, None, None, :], (1, 16, 16)))

families = ['haar'] + [f'db{i}' for i in range(2, 9)] + [f'sym{i}' for i in range(2, 9)] + [f'coif{i}' for i in range(1, 6)]
for family in families:
    x = rng.normal(size=(1, 24, 16)).astype('f4')
    case(f'{family}, even plane', f'wt:{family} levels=3', 'filters, phase and order of bands', x[None], wavelet(x, family, 3))
    x = rng.normal(size=(1, 21, 13)).astype('f4')
    case(f'{family}, odd plane', f'wt:{family} levels=2', 'repeated last elements, filters longer than the map',
         x[None], wavelet(x, family, 2))
for family in ('haar', 'db3'):
    case(f'{family}, picture', f'wt:{family} levels=3', 'smooth content, odd height', image[None], wavelet(image, family, 3))
    x = rng.normal(size=(1, 9, 6, 12)).astype('f4')
    case(f'{family}, volume', f'wt:{family} levels=2', 'three axes and eight bands', x[None], wavelet(x, family, 2))
    x = rng.normal(size=(3, 100)).astype('f4')
    case(f'{family}, lines', f'wt:{family} levels=5', 'one axis, five levels', x, wavelet(x, family, 5))

pathlib.Path(__file__).with_name('transforms.txt').write_text(
    f"# SciPy {scipy.__version__}, PyWavelets {pywt.__version__}\n" + ''.join(out))
