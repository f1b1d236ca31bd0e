// Decodes, encodes and accounts away from the page, so that it stays usable and can end what takes too long.

import { CodecWeights, encode, ledger } from "./codec.js";
import { CodecError, MAX_PIXELS, decode, readHeader } from "./decoder.js";
import { fetchArrays } from "./weights.js";

const MOST_PIXELS = 1 << 24; // that a page decodes: a larger picture is for the command line
const weights = fetchArrays("data/codec.safetensors").then((arrays) => new CodecWeights(arrays));

const tasks = {
  decode({ data }, weights, report) {
    const { height, width } = readHeader(data, weights);
    if (height * width > MOST_PIXELS) {
      const most = `${MOST_PIXELS.toLocaleString("en")} of the format's ${MAX_PIXELS.toLocaleString("en")} pixels`;
      throw new CodecError(`this page decodes up to ${most}, got ${height} x ${width}; the command line decodes it`);
    }
    return decode(data, weights, report);
  },
  ledger: ({ data }, weights) => ledger(data, weights),
  encode: ({ image, quality }, weights, report) => encode(image, weights, quality, report),
};

self.onmessage = async ({ data: { id, task, request } }) => {
  try {
    const report = (share) => self.postMessage({ id, share });
    const loaded = await weights;
    report(0); // from now on the page counts the seconds
    const result = tasks[task](request, loaded, report);
    self.postMessage({ id, result });
  } catch (error) {
    const words = error instanceof CodecError ? error.message : `this browser could not finish: ${error.message}`;
    self.postMessage({ id, error: words });
  }
};
