"""Trains a small, tuned DCGAN in PyTorch on one digit, for comparison, and writes 10,000 images
of its EMA generator as an IDX data set.

usage: peer_dcgan.py TRAIN DIGIT STEPS SEED OUT

TRAIN is MNIST as `candle-gan export --format idx` writes it. Latents of 64, a dense layer to 7x7x64,
two 4x4 layers of stride 2; cross-entropy, alternating updates, batches of 32, Adam at 1e-3 with beta1
0.5, EMA decay 0.998. Needs torch and numpy.
"""

import copy
import os
import struct
import sys

import torch
import torch.nn.functional as F
from second_opinion import load, tensor
from torch import nn


def write(path, head, values):
    with open(path, "wb") as file:
        file.write(struct.pack(f">{len(head)}I", *head) + values)


def init(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0, 0.02)


def networks():
    generator = nn.Sequential(
        nn.Linear(64, 3136, bias=False),
        nn.BatchNorm1d(3136),
        nn.ReLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(3136, 1),
    )
    return generator.apply(init), discriminator.apply(init)


def train(pictures, steps):
    generator, discriminator = networks()
    average = copy.deepcopy(generator)
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.999))
        for network in (generator, discriminator)
    )
    order = []
    for step in range(1, steps + 1):
        if len(order) < 32:
            order = torch.randperm(len(pictures))
        real, order = pictures[order[:32]], order[32:]
        fake = generator(torch.randn(32, 64))
        loss = F.softplus(-discriminator(real)).mean()
        loss = loss + F.softplus(discriminator(fake.detach())).mean()
        of_discriminator.zero_grad()
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        F.softplus(-discriminator(fake)).mean().backward()
        of_generator.step()
        decay = min(0.998, step / (step + 10))
        with torch.no_grad():
            values = zip(average.state_dict().values(), generator.state_dict().values())
            for mean, value in values:
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)
    return average.eval()


def main():
    train_set, digit, steps, seed, out = sys.argv[1:]
    torch.manual_seed(int(seed))
    torch.set_num_threads(1)
    pictures, labels = load(train_set)
    average = train(tensor(pictures[labels == int(digit)]), int(steps))
    with torch.no_grad():
        drawn = torch.cat([average(torch.randn(500, 64)) for _ in range(20)])
    drawn = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    os.makedirs(out, exist_ok=True)
    write(f"{out}/images-idx3-ubyte", (2051, len(drawn), 28, 28), drawn.tobytes())
    write(f"{out}/labels-idx1-ubyte", (2049, len(drawn)), bytes([int(digit)]) * len(drawn))


if __name__ == "__main__":
    main()
