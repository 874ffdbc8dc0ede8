"""Prints the filters in src/Actipress/Transforms/WaveletFilters.cs from PyWavelets."""
import pywt, numpy as np
names=['haar']+[f'db{i}' for i in range(2,9)]+[f'sym{i}' for i in range(2,9)]+[f'coif{i}' for i in range(1,6)]
for n in names:
    w=pywt.Wavelet(n); lo=np.array(w.dec_lo); hi=np.array(w.dec_hi); F=len(lo)
    # hi[k] = (-1)^(k+1) lo[F-1-k]
    pred=np.array([(-1)**(k+1)*lo[F-1-k] for k in range(F)])
    assert np.allclose(pred,hi,atol=1e-14),(n,pred,hi)
    print(f'        ["{n}"] = [{", ".join(repr(float(v)) for v in lo)}],')
