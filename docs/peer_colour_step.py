"""Times a step of the recipes `icons` and `sprites` in PyTorch: the same networks, hinge loss, R1 by finite
differences, augmentation, simultaneous updates, Adam and EMA, on random images.

usage: peer_colour_step.py icons|sprites [BATCH] [STEPS] [channels_last] [compile]

Needs torch.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

recipe = sys.argv[1]
numbers = [int(arg) for arg in sys.argv[2:] if arg.isdigit()]
batch, steps = (numbers + [16, 40][len(numbers) :])[:2]
side, wide = {"icons": (64, [256, 128, 64, 32]), "sprites": (32, [256, 128, 64])}[recipe]
gamma, noise, shift = 0.3, 0.02, side // 8
torch.manual_seed(0)


def layers_between(channels, layer):
    return [part for pair in zip(channels, channels[1:]) for part in layer(*pair)]


def up(a, b):
    return [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]


def down(a, b):
    return [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]


generator = nn.Sequential(
    nn.Linear(64, wide[0] * 16, bias=False),
    nn.BatchNorm1d(wide[0] * 16),
    nn.ReLU(),
    nn.Unflatten(1, (wide[0], 4, 4)),
    *layers_between(wide, up),
    nn.ConvTranspose2d(wide[-1], 3, 4, 2, 1),
    nn.Tanh(),
)
narrow = [3] + wide[::-1]
discriminator = nn.Sequential(*layers_between(narrow, down), nn.Flatten(), nn.Linear(16 * wide[0], 1))
adam = {"lr": 1e-3, "betas": (0.5, 0.999), "fused": True}
optimizers = [torch.optim.Adam(net.parameters(), **adam) for net in (generator, discriminator)]
parameters = [list(net.parameters()) for net in (generator, discriminator)]
average = [p.detach().clone() for p in parameters[0]]
if "channels_last" in sys.argv:
    generator, discriminator = (
        net.to(memory_format=torch.channels_last) for net in (generator, discriminator)
    )
if "compile" in sys.argv:
    # Two gradients are taken of one pass.
    torch._functorch.config.donated_buffer = False
    generator, discriminator = torch.compile(generator), torch.compile(discriminator)
data = torch.rand(8, batch, 3, side, side) * 2 - 1


def draw():
    """The random numbers of an augmentation: brightness, saturation, contrast, and a shift for each image."""
    colour = torch.rand(3, batch, 1, 1, 1)
    return colour, torch.randint(0, 2 * shift + 1, (2, batch, 1))


def augment(x, numbers):
    (brightness, saturation, contrast), moves = numbers
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5) + mean
    x = F.pad(x, (shift,) * 4, value=-1).permute(0, 2, 3, 1)
    image = torch.arange(batch)[:, None, None]
    rows, columns = (torch.arange(side)[None] + move for move in moves)
    return x[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def step(i):
    real = data[i % 8]
    fake = generator(torch.randn(batch, 64))
    of_real, of_fake = draw(), draw()
    # The fakes pass alone, since the generator's loss needs gradients of theirs only.
    on_fake = discriminator(augment(fake, of_fake)).view(batch)
    perturbed = augment(real + noise * torch.randn_like(real), of_real)
    clean, perturbed = discriminator(torch.cat([augment(real, of_real), perturbed])).view(2, batch)
    penalty = gamma / 2 * ((perturbed - clean) / noise).pow(2).mean()
    losses = [-on_fake.mean(), F.relu(1 - clean).mean() + F.relu(1 + on_fake).mean() + penalty]
    gradients = [
        torch.autograd.grad(loss, of, retain_graph=True) for loss, of in zip(losses, parameters)
    ]
    for of, values, optimizer in zip(parameters, gradients, optimizers):
        for parameter, value in zip(of, values):
            parameter.grad = value
        optimizer.step()
    torch._foreach_lerp_(average, parameters[0], 0.001)
    return losses[1].item()


for i in range(5):
    step(i)
times = []
for i in range(steps):
    start = time.perf_counter()
    step(i)
    times.append(time.perf_counter() - start)
median = sorted(times)[steps // 2]
print(f"torch {recipe} batch {batch} {median * 1e3:.1f} ms/step {batch / median:.0f} images/s")
