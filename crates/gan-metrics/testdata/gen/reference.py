"""Prints the numbers of src/reference.rs, from the programs that are usually quoted.

Made with Python 3.11, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, prdc 0.2. The last lines, of the
sliced Wasserstein distance, need numpy and scipy alone.
Frechet distance: the formula of pytorch-fid 0.3 (fid_score.py, calculate_frechet_distance).
"""

import numpy as np
import scipy.linalg
import scipy.ndimage
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


def laplacian_pyramid(images):
    """As in Karras et al. 2018: a blur of 1 4 6 4 1 between levels, mirrored at the edges."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, None] / 256.0
    levels = [images]
    while (min(levels[-1].shape[2:]) + 1) // 2 >= 16:
        fine = levels[-1]
        half = scipy.ndimage.convolve(fine, kernel, mode="mirror")[:, :, ::2, ::2]
        spread = np.zeros(fine.shape)
        spread[:, :, ::2, ::2] = half
        levels[-1] = fine - scipy.ndimage.convolve(spread, kernel * 4.0, mode="mirror")
        levels.append(half)
    return levels


def patches(level):
    """128 patches of 7x7 of each image at places by formula, each channel normalised."""
    n, c, h, w = level.shape
    t = np.arange(n * 128)
    tops, lefts, images = t * 5 % (h - 6), t * 3 % (w - 6), t // 128
    cut = np.stack([level[i, :, y : y + 7, x : x + 7] for i, y, x in zip(images, tops, lefts)])
    cut = cut - cut.mean(axis=(0, 2, 3), keepdims=True)
    return (cut / cut.std(axis=(0, 2, 3), keepdims=True)).reshape(len(cut), -1)


def swd(a, b):
    a, b = patches(a), patches(b)
    i, j = np.arange(a.shape[1])[:, None], np.arange(40)[None, :]
    directions = ((j * j * 31 + i * i * 17 + i * j * 7) % 101) - 50.0
    directions /= np.sqrt((directions**2).sum(axis=0))
    return np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)).mean()


# Images of 33 x 40 pixels in two channels.
shape = (3, 2, 33, 40)
first, second = features(6, 33 * 40, 7).reshape(shape), features(6, 33 * 40, 11).reshape(shape) * 0.75
second[:, :, 1:] += first[:, :, :-1]
for a, b in zip(laplacian_pyramid(first), laplacian_pyramid(second)):
    print("swd", a.shape, repr(float(swd(a, b))), "first", a[0, 1, :2, :2].ravel().tolist())
