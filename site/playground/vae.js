// The decoder of the Fashion-MNIST VAE: vae_lib/networks.py's DenseDecoder, and what notebook 08 draws of it.

export const SIDE = 28;
const PIXELS = SIDE * SIDE;
const COMPONENTS = 3; // logistics in the mixture of a pixel
const EPSILON = 1e-6; // of a LayerNorm

export class Decoder {
  /** arrays: as `readArrays` gives them, "decoder. ...". */
  constructor(arrays) {
    this.arrays = arrays;
  }

  get(name) {
    return this.arrays.get(`decoder.${name}`)?.values;
  }

  /** Parameters of the likelihood of all pixels from z: (9, 784), one after another. */
  parameters(z) {
    let h = this.linear(z, "latent");
    const back = this.linear(this.linear(this.norm(h, "block.norm"), "block.widen").map(silu), "block.back");
    h = h.map((value, i) => value + back[i]);
    return this.linear(this.norm(h, "norm").map(silu), "pixels");
  }

  /** x @ kernel + bias; a kernel of whole numbers has a unit for each output. */
  linear(x, name) {
    const [kernel, bias, unit] = [this.get(`${name}.kernel`), this.get(`${name}.bias`), this.get(`${name}.kernel.scale`)];
    const outputs = bias.length;
    const y = new Float64Array(outputs);
    for (let k = 0; k < x.length; k++) {
      const value = x[k];
      const row = k * outputs;
      for (let i = 0; i < outputs; i++) y[i] += value * kernel[row + i];
    }
    for (let i = 0; i < outputs; i++) y[i] = (unit ? unit[i] : 1) * y[i] + bias[i];
    return y;
  }

  norm(x, name) {
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const [scale, bias] = [this.get(`${name}.scale`), this.get(`${name}.bias`)];
    return x.map((value, i) => ((value - mean) / Math.sqrt(variance + EPSILON)) * scale[i] + bias[i]);
  }

  /**
   * Mean of p(x | z) in grey levels, (784,): the sum over the levels of the probability to exceed them.
   *
   * As in notebook 08: the likelihood is a mixture of logistics on an axis from -1 to 1, cut into 256 bins.
   */
  meanImage(z) {
    const out = this.parameters(z);
    const at = (part, component, pixel) => out[(part * COMPONENTS + component) * PIXELS + pixel];
    return Float64Array.from({ length: PIXELS }, (_, pixel) => {
      const components = [0, 1, 2].map((component) => ({
        weight: Math.exp(at(0, component, pixel)),
        mean: at(1, component, pixel) + (2 * component + 1) / COMPONENTS - 1,
        sharpness: Math.exp(2 - at(2, component, pixel)),
      }));
      const total = components.reduce((sum, { weight }) => sum + weight, 0);
      return components.reduce((sum, { weight, mean, sharpness }) => {
        let level = 0;
        for (let i = 0; i < 255; i++) level += 1 / (1 + Math.exp(((2 * i + 1) / 255 - 1 - mean) * sharpness));
        return sum + (weight / total) * level;
      }, 0);
    });
  }
}

function silu(x) {
  return x / (1 + Math.exp(-x));
}

/** From one latent to another along an arc: where both have the same norm, so has every step (notebook 08). */
export function sphericalInterpolation(start, end, weight) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = dot(start, end) / Math.sqrt(dot(start, start) * dot(end, end));
  const angle = Math.acos(Math.min(cosine, 1));
  if (angle < 1e-6) return Float64Array.from(start); // an image and itself
  const [a, b] = [Math.sin((1 - weight) * angle), Math.sin(weight * angle)];
  return Float64Array.from(start, (value, i) => (a * value + b * end[i]) / Math.sin(angle));
}

/** KL divergence from each of the posterior's Gaussians to the standard normal, in bits. */
export function klBits(mean, logStd) {
  return Float64Array.from(mean, (m, i) => (m ** 2 + Math.exp(2 * logStd[i]) - 1 - 2 * logStd[i]) / 2 / Math.LN2);
}
