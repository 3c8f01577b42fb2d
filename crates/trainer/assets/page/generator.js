// A generator's forward pass on one image, with typed arrays alone. Layers and weights are those of
// config.json and model.safetensors (docs/format.md), the weights in PyTorch's order.
"use strict";

const Gan = (() => {
  const size = (shape) => shape.reduce((product, side) => product * side, 1);

  // The number of half precision with these bits.
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  // The tensors of a model by name, from the bytes of its weights, little endian.
  function load(model, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const tensors = {};
    for (const { name, shape, offset, half: isHalf } of model.tensors) {
      const read = isHalf
        ? (at) => half(view.getUint16(offset + 2 * at, true))
        : (at) => view.getFloat32(offset + 4 * at, true);
      tensors[name] = { shape, data: Float32Array.from({ length: size(shape) }, (_, at) => read(at)) };
    }
    return { config: model.config, tensors };
  }

  function linear(x, shape, { data: weight }, bias) {
    const inputs = x.data.length, y = new Float32Array(size(shape));
    for (let o = 0, at = 0; o < y.length; o++) {
      let sum = bias ? bias.data[o] : 0;
      for (let i = 0; i < inputs; i++, at++) sum += weight[at] * x.data[i];
      y[o] = sum;
    }
    return { shape, data: y };
  }

  // "Same" padding before the first pixel of a side; the larger half goes after the last one.
  function before(large, kernel, stride) {
    const total = (Math.ceil(large / stride) - 1) * stride + kernel - large;
    return Math.max(0, total) >> 1;
  }

  // The first and the last small pixel, plus 1, that a tap connects along one side, and how far the large
  // pixel lies from the small one times the stride.
  function taps(small, large, tap, padding, stride) {
    const first = Math.max(0, Math.ceil((padding - tap) / stride));
    const end = Math.min(small, Math.floor((large - 1 + padding - tap) / stride) + 1);
    return [first, end, tap - padding];
  }

  // Values in the order (H, W, C), and back.
  function channelsLast({ shape: [channels, h, w], data }) {
    const y = new Float32Array(data.length);
    for (let c = 0, at = 0; c < channels; c++)
      for (let pixel = 0; pixel < h * w; pixel++) y[pixel * channels + c] = data[at++];
    return y;
  }
  const channelsFirst = ([channels, h, w], data) =>
    ({ shape: [channels, h, w], data: channelsLast({ shape: [h * w, 1, channels], data }) });

  // Weights of a convolution, (out, in / groups, kernel, kernel) or, transposed, (in, out / groups, kernel,
  // kernel), in the order (kernel, kernel, in, out / groups), kept for the next image.
  function packed(weight, transposed, groups) {
    if (weight.packed) return weight.packed;
    const [a, b, kernel] = weight.shape, area = kernel * kernel;
    const [inputs, outputs] = transposed ? [a, b] : [b * groups, a / groups];
    weight.packed = new Float32Array(weight.data.length);
    for (let i = 0; i < inputs; i++)
      for (let o = 0; o < outputs; o++)
        for (let tap = 0; tap < area; tap++) {
          const group = Math.floor(i / b);
          const pair = transposed ? i * outputs + o : (group * outputs + o) * b + (i % b);
          weight.packed[(tap * inputs + i) * outputs + o] = weight.data[pair * area + tap];
        }
    return weight.packed;
  }

  // A convolution, or a transposed one.
  function convolution(x, channels, { kernel, stride, groups = 1 }, transposed, weight, bias) {
    const [from, xh, xw] = x.shape, shape = [channels].concat(
      [xh, xw].map((n) => (transposed ? n * stride : Math.ceil(n / stride))));
    const [, yh, yw] = shape, weights = packed(weight, transposed, groups), values = channelsLast(x);
    const [sh, sw, lh, lw] = transposed ? [xh, xw, yh, yw] : [yh, yw, xh, xw];
    const top = before(lh, kernel, stride), left = before(lw, kernel, stride);
    const y = new Float32Array(size(shape)), outputs = channels / groups;
    for (let at = 0; bias && at < y.length; at++) y[at] = bias.data[at % channels];
    for (let tap = 0; tap < kernel * kernel; tap++) {
      const [r0, r1, dy] = taps(sh, lh, Math.floor(tap / kernel), top, stride);
      const [c0, c1, dx] = taps(sw, lw, tap % kernel, left, stride);
      for (let r = r0; r < r1; r++)
        for (let c = c0; c < c1; c++) {
          const small = r * sw + c, large = (r * stride + dy) * lw + c * stride + dx;
          const [a, b] = transposed ? [small, large] : [large, small];
          for (let i = 0; i < from; i++) {
            const value = values[a * from + i], w = (tap * from + i) * outputs;
            const to = b * channels + Math.floor((i * groups) / from) * outputs;
            // Half of the values after a ReLU are 0.
            if (value !== 0) for (let o = 0; o < outputs; o++) y[to + o] += value * weights[w + o];
          }
        }
    }
    return channelsFirst(shape, y);
  }

  // By the running statistics: a value for each channel, or for each output of a projection.
  function batchNorm(x, epsilon, weights) {
    const [gamma, beta, mean, variance] =
      ["weight", "bias", "running_mean", "running_var"].map((name) => weights(name).data);
    const each = x.data.length / gamma.length;
    const data = x.data.map((value, at) => {
      const i = Math.floor(at / each);
      return ((value - mean[i]) / Math.sqrt(variance[i] + epsilon)) * gamma[i] + beta[i];
    });
    return { shape: x.shape, data };
  }

  const activations = {
    relu: (v) => Math.max(v, 0),
    tanh: Math.tanh,
    sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  };
  const activation = (a) =>
    activations[a] ?? ((v) => (v > 0 ? v : v * a.leaky_relu));

  // For each new pixel of a side, pairs of an old one and its weight.
  function bilinear(from, to) {
    return Array.from({ length: to }, (_, pixel) => {
      const centre = Math.min(Math.max(((pixel + 0.5) * from) / to - 0.5, 0), from - 1);
      const first = Math.floor(centre), fraction = centre - first;
      return fraction > 0 ? [[first, 1 - fraction], [first + 1, fraction]] : [[first, 1]];
    });
  }
  const nearest = (from, factor) =>
    Array.from({ length: from * factor }, (_, pixel) => [[Math.floor(pixel / factor), 1]]);
  function smoothed(from, factor) {
    const rows = Array.from({ length: from / factor }, () => []);
    bilinear(from / factor, from).forEach((pairs, old) =>
      pairs.forEach(([at, weight]) => rows[at].push([old, weight])));
    return rows.map((pairs) => {
      const sum = pairs.reduce((total, [, weight]) => total + weight, 0);
      return pairs.map(([old, weight]) => [old, weight / sum]);
    });
  }
  function averages(from, side) {
    const padding = before(from, side, side);
    return Array.from({ length: Math.ceil(from / side) }, (_, pixel) => {
      const old = Array.from({ length: side }, (_, tap) => pixel * side + tap - padding)
        .filter((at) => at >= 0 && at < from);
      return old.map((at) => [at, 1 / old.length]);
    });
  }

  // Weighted sums of rows and columns.
  function resample(x, rows, columns) {
    const [channels, h, w] = x.shape, shape = [channels, rows.length, columns.length];
    const data = new Float32Array(size(shape));
    let to = 0;
    for (let c = 0; c < channels; c++)
      for (const row of rows)
        for (const column of columns) {
          let sum = 0;
          for (const [r, a] of row) for (const [k, b] of column) sum += a * b * x.data[(c * h + r) * w + k];
          data[to++] = sum;
        }
    return { shape, data };
  }

  // Channel c * n * n + i * n + j becomes pixel (n * y + i, n * x + j) of channel c, or the reverse.
  function shuffle(x, n, reverse) {
    const [channels, h, w] = x.shape;
    const [c, sh, sw] = reverse ? [channels, h / n, w / n] : [channels / (n * n), h, w];
    const data = new Float32Array(x.data.length);
    for (let k = 0; k < c; k++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++)
          for (let y = 0; y < sh; y++)
            for (let z = 0; z < sw; z++) {
              const deep = (((k * n + i) * n + j) * sh + y) * sw + z;
              const wide = (k * sh * n + n * y + i) * sw * n + n * z + j;
              if (reverse) data[deep] = x.data[wide];
              else data[wide] = x.data[deep];
            }
    return { shape: reverse ? [c * n * n, sh, sw] : [c, sh * n, sw * n], data };
  }

  // Of a batch of one, every standard deviation is the square root of epsilon.
  function minibatchStd(x) {
    const [c, h, w] = x.shape, data = new Float32Array((c + 1) * h * w).fill(1e-4);
    data.set(x.data);
    return { shape: [c + 1, h, w], data };
  }

  // Each group of neighbouring channels has mean 0 and variance 1.
  function groupNorm(x, groups, epsilon) {
    const data = new Float32Array(x.data.length), length = data.length / groups;
    for (let first = 0; first < data.length; first += length) {
      const part = x.data.subarray(first, first + length);
      const mean = part.reduce((sum, v) => sum + v, 0) / length;
      const scale = 1 / Math.sqrt(part.reduce((sum, v) => sum + (v - mean) ** 2, 0) / length + epsilon);
      part.forEach((v, at) => { data[first + at] = (v - mean) * scale; });
    }
    return { shape: x.shape, data };
  }

  // A learned image of each channel, times the channel's value.
  function basis(x, { shape, data }) {
    const pixels = shape[1] * shape[2];
    return { shape, data: data.map((v, at) => v * x.data[Math.floor(at / pixels)]) };
  }

  function layer(x, of, weights, name) {
    const [kind, a] = typeof of === "string" ? [of] : Object.entries(of)[0];
    const [, h, w] = x.shape;
    switch (kind) {
      case "dense": return linear(x, [a.units, 1, 1], weights("weight"), a.bias && weights("bias"));
      case "project": return linear(x, a.to, weights("weight"), a.bias && weights("bias"));
      case "basis": return basis(x, weights("weight"));
      case "conv": case "conv_transpose":
        return convolution(x, a.channels, a, kind !== "conv", weights("weight"), a.bias && weights("bias"));
      case "batch_norm": return batchNorm(x, a.epsilon, weights);
      case "group_norm": return groupNorm(x, a.groups, a.epsilon);
      case "activation": return { shape: x.shape, data: x.data.map(activation(a)) };
      case "dropout": return x;
      case "rescale": return { shape: x.shape, data: x.data.map((v) => a.scale * v + a.shift) };
      case "resize": return resample(x, bilinear(h, a[0]), bilinear(w, a[1]));
      case "avg_pool": return resample(x, averages(h, a), averages(w, a));
      case "upsample": {
        const of = a.filter === "nearest" ? nearest : (from, n) => bilinear(from, from * n);
        return resample(x, of(h, a.factor), of(w, a.factor));
      }
      case "downsample": return resample(x, smoothed(h, a), smoothed(w, a));
      case "pixel_shuffle": return shuffle(x, a, false);
      case "pixel_unshuffle": return shuffle(x, a, true);
      case "minibatch_std": return minibatchStd(x);
      case "residual": {
        const inside = (part) => (n) => weights(`${part}.${n}`);
        const body = chain(x, a.body, inside("body"));
        const shortcut = chain(x, a.shortcut ?? [], inside("shortcut"));
        return { shape: body.shape, data: body.data.map((v, at) => v + shortcut.data[at]) };
      }
      default: throw new Error(`${kind}: no such layer`);
    }
  }

  function chain(x, layers, weights) {
    return layers.reduce((x, of, number) => layer(x, of, (name) => weights(`${number}.${name}`)), x);
  }

  // The image of a latent vector and a class, which counts from 0: values in [-1, 1], (C, H, W).
  function forward({ config, tensors }, latent, label) {
    const classes = config.conditional ? config.classes.length : 0;
    const input = new Float32Array(config.latent_dim + classes);
    input.set(latent);
    if (classes) input[config.latent_dim + label] = 1;
    const x = { shape: [input.length, 1, 1], data: input };
    return chain(x, config.layers, (name) => tensors[`layers.${name}`]).data;
  }

  return { load, forward };
})();

if (typeof module !== "undefined") module.exports = Gan;
