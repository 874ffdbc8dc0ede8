"""Writes nifti.txt, small NIfTI files of every kind and what nibabel reads in them, and nifti_real.txt, checksums of what it reads in real
data.

Needs Debian's python3-nibabel. A case of nifti.txt is four lines: name | extents; why it is here; the file, gzipped, in base64 (of a pair
the header, a space, the numbers); the affine's 12 float64 and the values as float32 in hex. A line of nifti_real.txt: path | extents |
affine in hex | SHA-256 of the values as little-endian float32, first axis fastest. Usage: make_nifti.py [folder of the real data]
"""
import base64, gzip, hashlib, pathlib, sys
import nibabel as nib, numpy as np

here = pathlib.Path(__file__).parent
rng = np.random.default_rng(5)
out = []

def packed(data): return base64.b64encode(gzip.compress(data, mtime=0)).decode()

def values(image): return np.asarray(image.dataobj, dtype='f8').astype('<f4').tobytes(order='F')

def case(name, why, image, affine=None):
    if isinstance(image, (nib.Nifti1Pair, nib.Nifti2Pair)) and not isinstance(image, (nib.Nifti1Image, nib.Nifti2Image)):
        files = image.make_file_map()
        import io
        for key in files: files[key].fileobj = io.BytesIO()
        image.to_file_map(files)
        parts = [files['header'].fileobj.getvalue(), files['image'].fileobj.getvalue()]
        for key in files: files[key].fileobj = io.BytesIO(files[key].fileobj.getvalue())
        back = type(image).from_file_map(files)
    else:
        parts = [image.to_bytes()]
        back = type(image).from_bytes(parts[0])
    affine = back.affine if affine is None else affine
    out.append(f"{name} | {' '.join(map(str, back.shape))}\n{why}\n{' '.join(map(packed, parts))}\n"
               f"{np.asarray(affine, '<f8')[:3].tobytes().hex()} {values(back).hex()}\n")

turned = np.array([[-1.5, 0.1, 0, 90], [0.1, 2, 0.2, -126], [0, -0.2, 3, -72], [0, 0, 0, 1]])

def image(kind, dtype, order, scale=None, shape=(3, 2, 2)):
    dtype = np.dtype(dtype)
    if dtype.kind == 'f': data = rng.normal(0, 100, shape).astype(dtype)
    else:
        info = np.iinfo(dtype)
        data = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        data.flat[0], data.flat[1] = info.min, info.max
    header = (nib.Nifti2Header if kind in (nib.Nifti2Image, nib.Nifti2Pair) else nib.Nifti1Header)(endianness=order)
    header.set_data_dtype(dtype)
    made = kind(data, turned, header)
    if scale: made.header.set_slope_inter(*scale)
    return made

for version, kind in (('1', nib.Nifti1Image), ('2', nib.Nifti2Image)):
    for order, word in (('<', 'little'), ('>', 'big')):
        for dtype in ('u1', 'i1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'f4', 'f8'):
            case(f"nifti{version} {word} {dtype}", "a number type in one byte order and version, with its extremes",
                 image(kind, dtype, order))
            if dtype in ('u1', 'i2', 'f4'):
                # to_bytes would store data for the slope; so set it in the bytes: reading scales whatever is stored
                scaled = bytearray(image(kind, dtype, order).to_bytes())
                at, real = (112, 'f4') if version == '1' else (176, 'f8')
                size = np.dtype(real).itemsize
                scaled[at:at + size] = np.array(2.328e-3, order + real).tobytes()
                scaled[at + size:at + 2 * size] = np.array(-0.5, order + real).tobytes()
                back = kind.from_bytes(bytes(scaled))
                out.append(f"nifti{version} {word} {dtype} scaled | {' '.join(map(str, back.shape))}\nslope and intercept\n"
                           f"{packed(bytes(scaled))}\n{np.asarray(back.affine, '<f8')[:3].tobytes().hex()} {values(back).hex()}\n")

for version, kind in (('1', nib.Nifti1Image), ('2', nib.Nifti2Image)):
    for order in '<>':
        q = image(kind, 'i2', order)
        q.set_sform(None, 0)
        q.set_qform(np.array([[0, 0, 3, 1], [-1.5, 0, 0, 2], [0, 2, 0, 3], [0, 0, 0, 1]]), 1)
        case(f"nifti{version} {order} q-form", "axes permuted and turned by a quaternion", q)
        q = image(kind, 'i2', order)
        q.set_sform(None, 0)
        q.set_qform(np.array([[2, 0, 0, 1], [0, 2, 0, 2], [0, 0, -2, 3], [0, 0, 0, 1]]), 1)
        case(f"nifti{version} {order} q-form mirrored", "a mirror, which the sign of pixdim[0] tells", q)
        both = image(kind, 'i2', order)
        both.set_qform(np.diag([9, 9, 9, 1]), 1)
        both.set_sform(turned, 2)
        case(f"nifti{version} {order} both forms", "the s-form wins", both)
        neither = bytearray(image(kind, 'i2', order).to_bytes())
        at, size = (252, 4) if version == '1' else (344, 8)
        neither[at:at + size] = bytes(size)
        back = kind.from_bytes(bytes(neither))
        out.append(f"nifti{version} {order} neither form | 3 2 2\n"
                   "spacing alone, origin 0: nifti1.h's method 1 (nibabel itself puts the origin in the middle)\n"
                   f"{packed(bytes(neither))}\n"
                   f"{np.diag([*back.header.get_zooms(), 1]).astype('<f8')[:3].tobytes().hex()} {values(back).hex()}\n")
        case(f"nifti{version} {order} series", "four axes", image(kind, 'f4', order, shape=(2, 3, 2, 4)))
    thin = image(kind, 'u1', '<', shape=(3, 4, 2, 1, 1))
    case(f"nifti{version} axes of length 1", "axes of length 1 at the end are no axes", thin)
case("pair1", "header and numbers in two files", image(nib.Nifti1Pair, 'i2', '<'))
case("pair2", "the same in version 2, big-endian", image(nib.Nifti2Pair, 'f4', '>'))
for version, kind in (('1', nib.Nifti1Image), ('2', nib.Nifti2Image)):
    for slope in (0, float('nan')):
        plain = bytearray(image(kind, 'i2', '<').to_bytes())
        at, real = (112, 'f4') if version == '1' else (176, 'f8')
        plain[at:at + 2 * np.dtype(real).itemsize] = np.array([slope, 7], '<' + real).tobytes()
        back = kind.from_bytes(bytes(plain))
        out.append(f"nifti{version} slope {slope} | {' '.join(map(str, back.shape))}\n"
                   f"such a slope means no scaling, whatever the intercept\n{packed(bytes(plain))}\n"
                   f"{np.asarray(back.affine, '<f8')[:3].tobytes().hex()} {values(back).hex()}\n")
(here / 'nifti.txt').write_text(f"nibabel {nib.__version__}, NumPy {np.__version__}\n" + ''.join(out))

if len(sys.argv) > 1:
    root = pathlib.Path(sys.argv[1])
    files = [f for part in ('brats2015', 'ct_mr_totalsegmentator', 'niivue') for f in sorted((root / part).rglob('*.nii*'))]
    for part in ('imagesTr', 'labelsTr'): files += sorted((root / 'msd_hippocampus' / part).glob('*.nii.gz'))[::13]
    lines = [f"nibabel {nib.__version__}, NumPy {np.__version__}"]
    for file in files:
        read = nib.load(file)
        lines.append(f"{file.relative_to(root)} | {' '.join(map(str, read.shape))} | "
                     f"{np.asarray(read.affine, '<f8')[:3].tobytes().hex()} | {hashlib.sha256(values(read)).hexdigest()}")
    (here / 'nifti_real.txt').write_text('\n'.join(lines) + '\n')
