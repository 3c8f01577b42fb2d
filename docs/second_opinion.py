"""Measures sets of digits with a second classifier: a small CNN with 128 features, trained here by
PyTorch. One extractor may miss differences that another one shows.

usage: second_opinion.py TRAIN TEST CLASS|all DIR...

TRAIN and TEST are the two parts of MNIST, as `candle-gan export --format idx` writes them; each DIR is
one that `candle-gan generate --format idx` wrote. Prints, for every DIR and for real images: the Frechet
distance to the training images of the class; improved precision and recall (Kynkäänniemi et al.
2019) of 2,700 images against as many, with the 3rd and the 5th neighbour; the fraction recognised
as its label. The classifier is kept in second_opinion.pt. Needs torch and numpy.
"""

import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

COUNT = 2700


def idx(path):
    with open(path, "rb") as file:
        data = file.read()
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def load(folder):
    images, labels = (os.path.join(folder, name) for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    return idx(images), idx(labels).astype(np.int64)


def tensor(pictures):
    return torch.from_numpy(pictures.astype(np.float32) / 255 * 2 - 1).reshape(-1, 1, 28, 28)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.drop1, self.drop2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.dense1, self.dense2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def features(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return F.relu(self.dense1(self.drop1(x).flatten(1)))

    def forward(self, x):
        return self.dense2(self.drop2(self.features(x)))


def train(images, labels):
    torch.manual_seed(1)
    classifier = Classifier()
    adam = torch.optim.Adam(classifier.parameters(), 1e-3)
    for epoch in range(3):
        order = np.random.RandomState(epoch).permutation(len(images))
        for start in range(0, len(images), 128):
            batch = order[start : start + 128]
            adam.zero_grad()
            logits = classifier(tensor(images[batch]))
            F.cross_entropy(logits, torch.from_numpy(labels[batch])).backward()
            adam.step()
    torch.save(classifier.state_dict(), "second_opinion.pt")


def look(classifier, pictures):
    """Features and recognised classes."""
    with torch.no_grad():
        parts = [classifier.features(tensor(pictures[i : i + 500])) for i in range(0, len(pictures), 500)]
        features = torch.cat(parts)
        return features, classifier.dense2(features).argmax(1).numpy()


def frechet(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    mean, first, second = a.mean(0) - b.mean(0), np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0)).sum()
    return mean @ mean + np.trace(first + second) - 2 * roots


def covered(points, centres, neighbour):
    """Share of points that lie within some centre's distance to its own neighbour."""
    radius = [torch.cdist(part, centres).kthvalue(neighbour + 1, 1)[0] for part in centres.split(500)]
    radius = torch.cat(radius)[None]
    within = [(torch.cdist(part, centres) <= radius).any(1) for part in points.split(500)]
    return torch.cat(within).float().mean().item()


def show(name, real, fake, agreement):
    a, b = (features[:COUNT] for features in (real, fake))
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    parts = [f"k{k} precision {covered(b, a, k):.3f} recall {covered(a, b, k):.3f}" for k in (3, 5)]
    print(f"{name}: distance {frechet(real, fake):.2f}, {', '.join(parts)}, agreement {agreement:.4f}", flush=True)


def main():
    train_set, test_set, wanted, *sets = sys.argv[1:]
    images, labels = load(train_set)
    if not os.path.exists("second_opinion.pt"):
        train(images, labels)
    classifier = Classifier()
    classifier.load_state_dict(torch.load("second_opinion.pt"))
    classifier.eval()

    def measure(pictures, labels, seed):
        if wanted != "all":
            pictures, labels = pictures[labels == int(wanted)], labels[labels == int(wanted)]
        order = np.random.RandomState(seed).permutation(len(pictures))
        features, classes = look(classifier, pictures[order])
        return features, (classes == labels[order]).mean()

    real, agreement = measure(images, labels, 0)
    half = len(real) // 2
    show("real, one half against the other", real[:half], real[half:], agreement)
    show("real test set", real, *measure(*load(test_set), 1))
    for path in sets:
        show(path, real, *measure(*load(path), 1))


if __name__ == "__main__":
    main()
