"""Rebuilds a generator in PyTorch from its two files (see format.md) and generates images.

usage: load_in_pytorch.py DIRECTORY LATENTS.npy IMAGES.npy [LABEL,LABEL,...]
LATENTS.npy: float32 (B, latent_dim); IMAGES.npy: float32 (B, C, H, W) in [-1, 1]. Labels count the
classes from 0 and repeat as needed; the default is all in turn. Needs torch and numpy."""
import json, sys, numpy as np, torch, torch.nn.functional as F

def read_safetensors(path):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    values = lambda begin, end: torch.tensor(np.frombuffer(data[start + begin : start + end], "<f4"))
    entries = ((n, t) for n, t in json.loads(data[8:start]).items() if n != "__metadata__")
    return {n: values(*t["data_offsets"]).reshape(t["shape"]) for n, t in entries}

def padding(kernel, stride, large):  # "same": before and after, the larger half after
    total = max((-(-large // stride) - 1) * stride + kernel - large, 0)
    return total // 2, total - total // 2

def run(x, kind, arg, w):  # one layer; x is (B, C, H, W)
    (b, c, h, v), weight, bias = x.shape, w.get("weight"), w.get("bias", torch.zeros(1))
    k, s = (arg["kernel"], arg["stride"]) if kind.startswith("conv") else (1, 1)
    if kind == "dense":  # inputs in the order (H, W, C)
        return (x.permute(0, 2, 3, 1).flatten(1) @ weight.flatten(0, 2) + bias)[..., None, None]
    if kind == "project":  # outputs in the order (H, W, C), or (C, H, W) if the kernel is 1 x 1
        y = x.flatten(1) @ weight.permute(2, 0, 1, 3).flatten(1) + bias
        return y.view(b, *weight.shape[:2], -1).permute(0, 3, 1, 2).reshape(b, *arg["to"])
    if kind == "conv":
        y = F.pad(x, padding(k, s, v) + padding(k, s, h))
        y = F.conv2d(y, weight.permute(3, 2, 0, 1), stride=s)
        return y[:, :, : -(-h // s), : -(-v // s)] + bias.view(1, -1, 1, 1)
    if kind == "conv_transpose":  # crop the full result, or fill it up with zeros
        left, top = padding(k, s, v * s)[0], padding(k, s, h * s)[0]
        y = F.conv_transpose2d(x, weight.permute(2, 3, 0, 1), stride=s)
        y = F.pad(y, (-left, left + v * s - y.shape[3], -top, top + h * s - y.shape[2]))
        return y + bias.view(1, -1, 1, 1)
    if kind == "batch_norm":  # one value a channel, or a value of `project` in the order (H, W, C)
        hwc = (1, 1, c) if weight.numel() == c else (h, v, c)
        w = {name: vector.view(hwc).permute(2, 0, 1) for name, vector in w.items()}
        x = (x - w["running_mean"]) / (w["running_var"] + arg["epsilon"]).sqrt()
        return x * w["weight"] + w["bias"]
    if kind == "group_norm": return F.group_norm(x, arg["groups"], eps=arg["epsilon"])
    if kind == "activation":
        return getattr(torch, arg)(x) if isinstance(arg, str) else F.leaky_relu(x, arg["leaky_relu"])
    if kind == "resize": return F.interpolate(x, size=arg, mode="bilinear", align_corners=False)
    if kind == "avg_pool":  # means leave the padding out
        pool = lambda y: F.avg_pool2d(F.pad(y, padding(arg, arg, v) + padding(arg, arg, h)), arg)
        return pool(x) / pool(torch.ones_like(x))
    if kind == "rescale": return x * arg["scale"] + arg["shift"]
    if kind == "residual":
        part = lambda name: run_all(x, arg.get(name, []), below(w, name))
        return part("body") + part("shortcut")
    if kind == "upsample":
        how = {"mode": "bilinear", "align_corners": False} if arg["filter"] == "bilinear" else {}
        return F.interpolate(x, scale_factor=arg["factor"], **how)
    if kind == "downsample":  # the transpose of bilinear upsampling, rows of weights scaled to a sum of 1
        scaled = lambda side: F.interpolate(torch.eye(side // arg)[None], size=side, mode="linear")[0]
        rows, columns = (m / m.sum(1, keepdim=True) for m in (scaled(h), scaled(v)))
        return rows @ x @ columns.T
    if kind.startswith("pixel_"): return getattr(F, kind)(x, arg)
    if kind == "minibatch_std":
        std = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, std.expand(b, 1, h, v)], 1)
    return x if kind == "dropout" else sys.exit(f"{kind}: this script does not know the layer")

def below(w, name):  # the tensors whose names start with `name` and a dot, under the rest of their names
    return {n[len(name) + 1 :]: t for n, t in w.items() if n.startswith(f"{name}.")}

def run_all(x, layers, w):
    for i, layer in enumerate(layers):
        ((kind, arg),) = layer.items() if isinstance(layer, dict) else [(layer, None)]
        x = run(x, kind, arg, below(w, str(i)))
    return x

directory, latents, images = sys.argv[1:4]
config = json.load(open(f"{directory}/config.json"))
tensors = read_safetensors(f"{directory}/model.safetensors")
x = torch.from_numpy(np.load(latents))[..., None, None]
if config.get("conditional"):  # latent vectors, then one-hot classes
    labels, one_hot = range(len(config["classes"])), torch.eye(len(config["classes"]))[..., None, None]
    labels = [int(label) for label in sys.argv[4].split(",")] if len(sys.argv) > 4 else labels
    x = torch.cat([x, one_hot[[labels[i % len(labels)] for i in range(len(x))]]], 1)
np.save(images, run_all(x, config["layers"], below(tensors, "layers")).numpy())
