"""Compares R1 and its gradient with the estimate by finite differences that training uses.

usage: penalty.py TRAIN

TRAIN is MNIST as `candle-gan export --format idx` writes it. A small discriminator (3x3 convolutions of
stride 2 to 32, 64 and 128 channels, LeakyReLU 0.2, a dense layer) learns to tell digits from means of
two digits, with R1 at gamma 0.3; at three moments of that, the exact penalty (PyTorch's double
backward) is compared with the estimate at several standard deviations of the noise. Prints the ratio of
the mean penalties over 2,000 images; and of the penalty's gradient by the parameters, over batches of
32: the cosine with the exact gradient of the same batch, of one batch and of the mean over 100 draws of
noise. Needs torch and numpy.
"""

import sys

import torch
import torch.nn.functional as F
from second_opinion import load, tensor
from torch import nn

GAMMA = 0.3
DRAWS = 100


def discriminator():
    layers, channels = [], 1
    for wide in (32, 64, 128):
        layers += [nn.Conv2d(channels, wide, 3, 2, 1), nn.LeakyReLU(0.2)]
        channels = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 1), nn.Flatten(0))


def exact(network, images):
    images = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    return GAMMA / 2 * grad.square().sum((1, 2, 3)).mean()


def estimate(network, images, std):
    perturbed = images + std * torch.randn_like(images)
    return GAMMA / 2 * ((network(perturbed) - network(images)) / std).square().mean()


def gradient(network, penalty):
    # The exact penalty does not depend on biases, where activations are piecewise linear.
    parameters = list(network.parameters())
    grads = torch.autograd.grad(penalty, parameters, allow_unused=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, grads)])


def compare(network, images, step):
    print(f"step {step}: R1 {exact(network, images[:2000]).item():.4g}")
    for std in (0.002, 0.02, 0.1, 0.3):
        ratio = estimate(network, images[:2000], std).item() / exact(network, images[:2000]).item()
        single, mean = [], []
        for batch in images[:96].split(32):
            truth = gradient(network, exact(network, batch))
            draws = [gradient(network, estimate(network, batch, std)) for _ in range(DRAWS)]
            single += [F.cosine_similarity(draw, truth, 0).item() for draw in draws[:20]]
            mean.append(F.cosine_similarity(torch.stack(draws).mean(0), truth, 0).item())
        print(
            f"  std {std}: ratio {ratio:.3f}, cosine of one draw {sum(single) / len(single):.3f}, "
            f"of the mean of {DRAWS} {sum(mean) / len(mean):.3f}",
            flush=True,
        )


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = tensor(load(sys.argv[1])[0])
    images = images[torch.randperm(len(images))]
    network = discriminator()
    adam = torch.optim.Adam(network.parameters(), 5e-4, betas=(0.5, 0.99))
    for step in range(1001):
        if step in (0, 200, 1000):
            compare(network, images, step)
        real = images[torch.randint(len(images), (32,))]
        fake = images[torch.randint(len(images), (2, 32))].mean(0)
        loss = F.softplus(-network(real)).mean() + F.softplus(network(fake)).mean()
        adam.zero_grad()
        (loss + exact(network, real)).backward()
        adam.step()


if __name__ == "__main__":
    main()
