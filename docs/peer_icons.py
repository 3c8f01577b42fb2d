"""Trains a tuned DCGAN with hinge loss, EMA and DiffAugment in PyTorch on colour images, for comparison,
and writes 2,000 images of its EMA generator.

usage: peer_icons.py TRAIN SIZE MINUTES|STEPSs SEED OUT [LR]

TRAIN is a directory as `candle-gan export` writes it, SIZE 32 or 64. `60` trains for 60 minutes, `900s`
for 900 steps, so that a busy machine does not count. Latents of 64, 4x4 layers of stride 2, as many
channels as the recipes `icons` and `sprites` have; batches of 64, alternating updates, Adam at LR (2e-4)
with beta1 0.5, EMA decay 0.999, learning rates that fall to a quarter from the half on. Colours and shifts
are changed as by Zhao et al. 2020. Needs torch, numpy and pillow.
"""

import copy
import glob
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

BATCH = 64


def load(directory):
    files = sorted(glob.glob(f"{directory}/**/*.png", recursive=True))
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def networks(size):
    wide = [256, 128, 64] if size == 32 else [256, 128, 64, 32]
    generator = [
        nn.Linear(64, wide[0] * 16, bias=False),
        nn.BatchNorm1d(wide[0] * 16),
        nn.ReLU(),
        nn.Unflatten(1, (wide[0], 4, 4)),
    ]
    for i, o in zip(wide, wide[1:]):
        generator += [nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    generator += [nn.ConvTranspose2d(wide[-1], 3, 4, 2, 1), nn.Tanh()]
    discriminator, channels = [], 3
    for o in wide[::-1]:
        norm = [] if channels == 3 else [nn.BatchNorm2d(o)]
        discriminator += [nn.Conv2d(channels, o, 4, 2, 1, bias=not norm), *norm, nn.LeakyReLU(0.2)]
        channels = o
    discriminator += [nn.Flatten(), nn.Linear(channels * 16, 1)]
    for module in generator + discriminator:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0, 0.02)
    return nn.Sequential(*generator), nn.Sequential(*discriminator)


def augment(x):
    """Brightness, saturation, contrast; shifts by up to an eighth."""
    batch, _, size, _ = x.shape
    draw = lambda low, high: torch.empty(batch, 1, 1, 1).uniform_(low, high)
    x = x + draw(-0.5, 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * draw(0, 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * draw(0.5, 1.5) + mean
    most = size // 8
    padded = F.pad(x, (most,) * 4)
    rows, columns = (torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(size) for _ in range(2))
    each = torch.arange(batch)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


class Length:
    """How much of the training is done, by time or by steps."""

    def __init__(self, text):
        self.steps = int(text[:-1]) if text.endswith("s") else None
        self.seconds = None if self.steps else 60 * float(text)
        self.start = time.monotonic()

    def done(self, step):
        return step / self.steps if self.steps else (time.monotonic() - self.start) / self.seconds


def train(pictures, size, length, lr):
    # Measured faster so on a CPU.
    generator, discriminator = (network.to(memory_format=torch.channels_last) for network in networks(size))
    average = copy.deepcopy(generator)
    adams = [torch.optim.Adam(network.parameters(), lr, (0.5, 0.999), fused=True) for network in (generator, discriminator)]
    order, step, began = [], 0, time.monotonic()
    while (done := length.done(step)) < 1:
        for adam in adams:
            adam.param_groups[0]["lr"] = lr * min(1, 1 - 0.75 * (done - 0.5) / 0.5)
        if len(order) < BATCH:
            order = torch.randperm(len(pictures))
        real, order = pictures[order[:BATCH]], order[BATCH:]
        fake = generator(torch.randn(BATCH, 64))
        loss = F.relu(1 - discriminator(augment(real))).mean() + F.relu(1 + discriminator(augment(fake.detach()))).mean()
        adams[1].zero_grad()
        loss.backward()
        adams[1].step()
        discriminator.requires_grad_(False)
        adams[0].zero_grad()
        (-discriminator(augment(fake)).mean()).backward()
        discriminator.requires_grad_(True)
        adams[0].step()
        step += 1
        decay = min(0.999, step / (step + 10))
        with torch.no_grad():
            for mean, value in zip(average.state_dict().values(), generator.state_dict().values()):
                mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)
        if step % 100 == 0:
            each = (time.monotonic() - began) / step
            print(f"step {step}, {100 * done:.0f}%, {1000 * each:.0f} ms a step, {BATCH / each:.0f} images/s", flush=True)
    return average.eval()


def main():
    directory, size, length, seed, out = sys.argv[1:6]
    torch.manual_seed(int(seed))
    lr = float(sys.argv[6]) if len(sys.argv) > 6 else 2e-4
    average = train(load(directory), int(size), Length(length), lr)
    os.makedirs(out, exist_ok=True)
    with torch.no_grad():
        drawn = torch.cat([average(torch.randn(100, 64)) for _ in range(20)])
    drawn = ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    for number, picture in enumerate(drawn):
        Image.fromarray(picture).save(f"{out}/{number:04}.png")


if __name__ == "__main__":
    main()
