// Pixels and canvases: reading pictures, comparing them, and the browser's own JPEG at a given number of bytes.

/** The pixels of a picture file, {height, width, rgba}, scaled down where it has more than `mostPixels`. */
export async function readPicture(file, mostPixels = Infinity) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const scale = Math.min(1, Math.sqrt(mostPixels / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.round(scale * bitmap.width));
  const height = Math.max(1, Math.round(scale * bitmap.height));
  const context = newContext(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { height, width, rgba: context.getImageData(0, 0, width, height).data, scaled: scale < 1 };
}

function newContext(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d", { willReadFrequently: true });
}

export function draw(canvas, { height, width, rgba }) {
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
}

/** Peak signal-to-noise ratio in decibels over the three channels of two pictures of one size. */
export function psnr(one, other) {
  let sum = 0;
  for (let i = 0; i < one.rgba.length; i++) if (i % 4 < 3) sum += (one.rgba[i] - other.rgba[i]) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / (3 * one.height * one.width)));
}

/** The best JPEG that this browser makes in at most so many bytes, or else its smallest: {blob, quality}. */
export async function jpegOfSize(picture, bytes) {
  const context = newContext(picture.width, picture.height);
  draw(context.canvas, picture);
  const make = (quality) =>
    new Promise((resolve) => context.canvas.toBlob(resolve, "image/jpeg", quality / 100));
  let [low, high] = [0, 101]; // quality high is too large, or beyond the scale
  let best = { blob: await make(low), quality: low };
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const blob = await make(middle);
    if (blob.size <= bytes) [low, best] = [middle, { blob, quality: middle }];
    else high = middle;
  }
  return best;
}

/** Let the reader keep a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
