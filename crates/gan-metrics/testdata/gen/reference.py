"""Prints the numbers of src/reference.rs, from the programs that are usually quoted.

Made with Python 3.11, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, prdc 0.2.
Frechet distance: the formula of pytorch-fid 0.3 (fid_score.py, calculate_frechet_distance).
"""

import numpy as np
import scipy.linalg
from prdc import compute_prdc
from sklearn.metrics.pairwise import polynomial_kernel


def features(rows, dim, seed):
    i = np.arange(rows)[:, None]
    j = np.arange(dim)[None, :]
    return ((i * i * 31 + j * j * 17 + i * j * seed + 13 * i) % 1009) / 512.0


def frechet(a, b):
    m1, m2 = a.mean(axis=0), b.mean(axis=0)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    diff = m1 - m2
    return diff @ diff + np.trace(s1) + np.trace(s2) - 2 * np.trace(np.real(root))


def mmd2(a, b):
    def k(x, y):
        return polynomial_kernel(x, y, degree=3, gamma=None, coef0=1)

    def off_diagonal(matrix):
        n = len(matrix)
        return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))

    return off_diagonal(k(a, a)) + off_diagonal(k(b, b)) - 2 * k(a, b).mean()


def frechet_by_svd(a, b):
    """The same distance, accurate for singular covariances too.

    With S1 = A A^T and S2 = B B^T, the trace of (S1 S2)^(1/2) is the sum of the singular values of
    A^T B (the nuclear norm).
    """
    roots = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    diff = a.mean(axis=0) - b.mean(axis=0)
    traces = sum((root**2).sum() for root in roots)
    return diff @ diff + traces - 2 * np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()


# The second set's values are drawn together, so that the four scores are four numbers.
real, fake = features(60, 6, 7), features(50, 6, 11) * 0.75 + 0.625
print("frechet", repr(float(frechet(real, fake))))
print("mmd2", repr(float(mmd2(real, fake))))
for k in (3, 5):
    scores = compute_prdc(real, fake, nearest_k=k)
    print(k, {name: float(value) for name, value in scores.items()})

# The last case shrinks every second feature by 2^-20: nearly singular.
small = np.where(np.arange(128) % 2 == 0, 1.0, 2.0**-20)
for name, rows, scale in [("full", (400, 300), 1.0), ("singular", (20, 30), 1.0), ("near", (400, 300), small)]:
    real = features(rows[0], 128, 7) * scale
    fake = (features(rows[1], 128, 11) * 0.75 + 0.625) * scale
    print(name, "sqrtm", repr(float(frechet(real, fake))), "svd", repr(float(frechet_by_svd(real, fake))))
