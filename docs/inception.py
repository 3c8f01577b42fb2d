"""Weights for `candle-gan evaluate --inception`, and a check of what it computes with them.

usage: inception.py convert FILE.pth FILE.safetensors
       inception.py check PROGRAM
       inception.py values

`convert` writes the weights of pytorch-fid (pt_inception-2015-12-05-6726825d.pth, from the releases of
github.com/mseitzer/pytorch-fid) as safetensors; it needs torch, numpy and safetensors.

`check` needs pytorch-fid, pillow and numpy too, and no weights: it gives pytorch-fid's network random ones,
batch statistics included, and compares it with the program candle-gan at PROGRAM, on 40 images in colour and on
40 grey ones. Compared are mean and covariance of the features of 24 training images, and FID and IS of 8 other
images and of 8 test images. Exits with 1 where a relative difference is above 1e-3.

`values` prints the numbers of the test in crates/gan-metrics/src/inception/tests.rs, which makes the same weights
and images.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

MASK = 2**64 - 1
TOLERANCE = 1e-3


def convert(source, target):
    weights = torch.load(source, map_location="cpu", weights_only=True)
    kept = {name: value.contiguous() for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    save_file(kept, target)


def uniform(name, count):
    """Numbers in [-1, 1), by SplitMix64 from the FNV-1a hash of a name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


def random_weight(name, shape):
    values = uniform(name, int(np.prod(shape)))
    if len(shape) > 1:
        values *= np.float32(np.sqrt(6 / np.prod(shape[1:])))
    elif name.endswith(("bn.weight", "running_var")):
        values = 1 + values / 2
    else:
        values /= 4
    return torch.from_numpy(values.reshape(shape))


def random_network():
    """pytorch-fid's network with random weights, made without its download, and the weights."""
    import pytorch_fid.inception as fid

    fid.load_state_dict_from_url = lambda *args, **kwargs: None
    load, made = torch.nn.Module.load_state_dict, {}

    def randomised(module, _):
        shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        weights = {name: random_weight(name, shape) for name, shape in shapes.items() if shape}
        made.update(weights)
        return load(module, weights, strict=False)

    torch.nn.Module.load_state_dict = randomised
    network = fid.InceptionV3()
    torch.nn.Module.load_state_dict = load
    return network.eval(), made


def images(count, channels, side):
    """Bytes (N, H, W, C)."""
    n, y, x, c = np.ogrid[:count, :side, :side, :channels]
    return ((n % 7 + 1) * (7 * y + 40 * c) + (n % 5) * x * x // 4 + 29 * n * (x // 8 + y // 8)).astype(np.uint8)


def features(network, pictures):
    x = torch.from_numpy(pictures.astype(np.float32) / 255).permute(0, 3, 1, 2)
    x = x.expand(-1, 3, -1, -1)
    with torch.no_grad():
        return torch.cat([network(part)[0].flatten(1) for part in x.split(8)]).numpy()


def probabilities(features, weights):
    logits = features.astype(np.float64) @ weights["fc.weight"].numpy().T.astype(np.float64)
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def values():
    network, weights = random_network()
    for count, channels, side in ((2, 3, 32), (1, 1, 28)):
        of = features(network, images(count, channels, side))
        print(f"{count} images of {channels}x{side}x{side}: some features of each, probabilities of two classes")
        print(of[:, [0, 700, 1200, 1600, 2047]].tolist())
        print(probabilities(of, weights)[:, [207, 1007]].tolist())


def balance(weights, features):
    """Gives the classes logits that differ from image to image more than from class to class."""
    mean = torch.from_numpy(features.mean(0))
    classes = weights["fc.weight"]
    weights["fc.weight"] = 10 * (classes - torch.outer(classes @ mean, mean) / mean.square().sum())


def frechet(a, b):
    """The trace of the root of the covariances' product is the sum of the singular values of the product of
    the centred sets, which says the same of singular covariances, too."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    (a, mean_a), (b, mean_b) = ((x - x.mean(0), x.mean(0)) for x in (a, b))
    a, b = a / np.sqrt(len(a) - 1), b / np.sqrt(len(b) - 1)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return np.square(mean_a - mean_b).sum() + np.square(a).sum() + np.square(b).sum() - 2 * shared


def score(probabilities):
    mean = probabilities.mean(0)
    return np.exp((probabilities * np.log(probabilities / mean)).sum(1).mean())


def measure(program, place, pictures):
    """What the program prints, and the statistics of the training images that it keeps. The first 24 pictures
    are for training, then come 8 for testing and 8 to measure."""
    from PIL import Image

    for name, chosen in (("set/train", pictures[:24]), ("set/test", pictures[24:32]), ("others", pictures[32:])):
        os.makedirs(os.path.join(place, name))
        for i, picture in enumerate(chosen):
            Image.fromarray(picture.squeeze()).save(os.path.join(place, name, f"{i:02}.png"))
    weights, others, images = (os.path.join(place, name) for name in ("weights.safetensors", "others", "set"))
    command = [os.path.abspath(program), "evaluate", "--json", "--inception", weights, "--images", others]
    command += ["--dataset", f"folder:{images}"]
    cache = os.path.join(place, "cache")
    environment = dict(os.environ, CANDLE_GAN_CACHE=cache)
    ran, again = (subprocess.run(command, env=environment, check=True, capture_output=True) for _ in range(2))
    reports = [{**json.loads(run.stdout), "seconds": None} for run in (ran, again)]
    assert reports[0] == reports[1], "kept statistics give other figures"
    (kept,) = os.listdir(os.path.join(cache, "inception"))
    return json.loads(ran.stdout), load_file(os.path.join(cache, "inception", kept))


def check(program):
    network, weights = random_network()
    worst = {}
    for colour, channels in (("colour", 3), ("grey", 1)):
        pictures = images(40, channels, 32)
        of = features(network, pictures)
        training, test, others = of[:24], of[24:32], of[32:]
        balance(weights, training)
        with tempfile.TemporaryDirectory() as place:
            file = os.path.join(place, "weights.pth")
            torch.save(weights, file)
            convert(file, os.path.join(place, "weights.safetensors"))
            report, kept = measure(program, place, pictures)
        covariance = np.cov(training.astype(np.float64), rowvar=False)
        pairs = [("mean", kept["mean"].numpy(), training.mean(0)), ("covariance", kept["covariance"].numpy(), covariance)]
        for name, column, features_of in (("generated", "generated", others), ("real", "real", test)):
            metrics = report[column]["metrics"]
            pairs.append((f"fid-8, {name}", metrics["fid-8"], frechet(training, features_of)))
            pairs.append((f"is-8, {name}", metrics["is-8"], score(probabilities(features_of, weights))))
        for name, got, wanted in pairs:
            difference = np.abs(got - wanted).max() / np.abs(wanted).max()
            shown = "" if np.ndim(wanted) else f"{got:.6g} and {wanted:.6g}, "
            print(f"{colour}, {name}: {shown}relative difference {difference:.1e}")
            worst[name] = max(difference, worst.get(name, 0))
    sys.exit(any(not difference < TOLERANCE for difference in worst.values()))


if __name__ == "__main__":
    {"convert": convert, "check": check, "values": values}[sys.argv[1]](*sys.argv[2:])
