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


# The second set's values are drawn together, so that the four scores are four numbers.
real, fake = features(60, 6, 7), features(50, 6, 11) * 0.75 + 0.625
print("frechet", repr(float(frechet(real, fake))))
print("mmd2", repr(float(mmd2(real, fake))))
for k in (3, 5):
    scores = compute_prdc(real, fake, nearest_k=k)
    print(k, {name: float(value) for name, value in scores.items()})
