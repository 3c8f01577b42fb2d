"""Rebuilds a generator in PyTorch from its two files (see format.md) and generates images.

usage: load_in_pytorch.py DIRECTORY LATENTS.npy IMAGES.npy [LABEL,LABEL,...]
LATENTS.npy: float32 (B, latent_dim); IMAGES.npy: float32 (B, C, H, W) in [-1, 1]. Labels count the
classes from 0 and repeat as needed; the default is all in turn. Needs torch, safetensors and numpy."""
import json, sys, torch, torch.nn.functional as F

def padding(kernel, stride, large):  # "same": before and after, the larger half after
    total = max((-(-large // stride) - 1) * stride + kernel - large, 0)
    return total // 2, total - total // 2

def run(x, kind, arg, w):  # one layer; x is (B, C, H, W)
    (b, c, h, v), weight, bias = x.shape, w.get("weight"), w.get("bias", torch.zeros(1))
    conv = kind.startswith("conv")
    k, s, g = (arg["kernel"], arg["stride"], arg.get("groups", 1)) if conv else (1, 1, 1)
    if kind == "dense":  # inputs in the order (H, W, C)
        return (x.permute(0, 2, 3, 1).flatten(1) @ weight.flatten(0, 2) + bias)[..., None, None]
    if kind == "project":  # outputs in the order (H, W, C), or (C, H, W) if the kernel is 1 x 1
        y = x.flatten(1) @ weight.permute(2, 0, 1, 3).flatten(1) + bias
        return y.view(b, *weight.shape[:2], -1).permute(0, 3, 1, 2).reshape(b, *arg["to"])
    if kind == "basis": return x * weight.permute(2, 0, 1)
    if kind == "conv":
        y = F.pad(x, padding(k, s, v) + padding(k, s, h))
        y = F.conv2d(y, weight.permute(3, 2, 0, 1), stride=s, groups=g)
        return y[:, :, : -(-h // s), : -(-v // s)] + bias.view(1, -1, 1, 1)
    if kind == "conv_transpose":  # crop the full result, or fill it up with zeros
        left, top = padding(k, s, v * s)[0], padding(k, s, h * s)[0]
        weight = weight.unflatten(3, (g, -1)).permute(3, 2, 4, 0, 1).flatten(0, 1)
        y = F.conv_transpose2d(x, weight, stride=s, groups=g)
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
    if kind == "upsample":
        smooth = {"mode": "bilinear", "align_corners": False} if arg["filter"] == "bilinear" else {}
        return F.interpolate(x, scale_factor=arg["factor"], **smooth)
    if kind == "downsample":  # bilinear upsampling transposed, each row's sum scaled to 1
        def rows(side):
            up = F.interpolate(torch.eye(side // arg)[None], scale_factor=arg, mode="linear")[0]
            return up / up.sum(1, keepdim=True)
        return rows(h) @ x @ rows(v).T
    if kind == "pixel_shuffle": return F.pixel_shuffle(x, arg)
    if kind == "pixel_unshuffle": return F.pixel_unshuffle(x, arg)
    if kind == "minibatch_std":
        std = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
        return torch.cat([x, std.expand(b, 1, h, v)], 1)
    return x if kind == "dropout" else sys.exit(f"{kind}: no layer that this script knows")

def run_all(x, layers, tensors):  # the names of the tensors begin with the layer's number
    for i, layer in enumerate(layers):
        ((kind, arg),) = layer.items() if isinstance(layer, dict) else [(layer, None)]
        of = lambda prefix: {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}
        if kind == "residual":
            parts = [run_all(x, arg.get(p, []), of(f"{i}.{p}.")) for p in ("body", "shortcut")]
            x = parts[0] + parts[1]
        else:
            x = run(x, kind, arg, of(f"{i}."))
    return x

def forward(config, tensors, latents, labels=None):  # (B, latent_dim) to (B, C, H, W) in [-1, 1]
    x, count = latents[..., None, None], len(config.get("classes", []))
    if config.get("conditional"):  # latent vectors, then one-hot classes
        labels = range(count) if labels is None else labels
        of = torch.tensor([int(labels[i % len(labels)]) for i in range(len(x))])
        x = torch.cat([x, F.one_hot(of, count).float()[..., None, None]], 1)
    return run_all(x, config["layers"], {n.removeprefix("layers."): t for n, t in tensors.items()})

if __name__ == "__main__":
    import numpy as np
    from safetensors.torch import load_file
    directory, latents, images = sys.argv[1:4]
    config = json.load(open(f"{directory}/config.json"))
    tensors = load_file(f"{directory}/model.safetensors")
    labels = sys.argv[4].split(",") if len(sys.argv) > 4 else None
    np.save(images, forward(config, tensors, torch.from_numpy(np.load(latents)), labels).numpy())
