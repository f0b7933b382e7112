// Pictures of an image, and of the spikes of a layer.

import {fromBase64} from "/service.js";

/** Largest side of a picture of spikes on the screen, in pixels of the page. */
const LARGEST = 260;

function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map(begin => parseInt(text.slice(begin, begin + 2), 16));
}

/** Draw what a network gets: one channel in grey, three in colour, others side by side. */
export function drawImage(canvas, {channels, height, width, pixels}) {
  const bytes = fromBase64(pixels);
  const size = height * width;
  const beside = channels === 3 ? 1 : channels;
  canvas.width = width * beside;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < canvas.width; column++) {
      const at = row * width + column % width;
      const part = Math.floor(column / width);
      const target = 4 * (row * canvas.width + column);
      for (let band = 0; band < 3; band++) {
        image.data[target + band] = bytes[at + size * (channels === 3 ? band : part)];
      }
      image.data[target + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/** Rows and columns of channels: full rows where the whole is about a square; maps have a gap between them. */
function arrangement({channels, height, width}) {
  const gap = height * width > 1 ? 1 : 0;
  const cost = columns => {
    const rows = Math.ceil(channels / columns);
    const proportion = columns * (width + gap) / (rows * (height + gap));
    // Wide is better than high, and a place without a channel is worth a little of either.
    return Math.abs(Math.log(proportion / 1.4)) + 4 * (rows * columns - channels) / channels;
  };
  let columns = 1;
  for (let tried = 2; tried <= channels; tried++) {
    columns = cost(tried) < cost(columns) ? tried : columns;
  }
  return {columns, rows: Math.ceil(channels / columns), gap};
}

/** Draw one timestep: a square of pixels per channel, a lit pixel per spike. */
function drawStep(canvas, layer, bits, step) {
  const {channels, height, width} = layer;
  const {columns, rows, gap} = arrangement(layer);
  canvas.width = columns * (width + gap) - gap;
  canvas.height = rows * (height + gap) - gap;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const spike = colour("--spike");
  const rest = colour("--rest");
  let bit = step * channels * height * width;
  for (let channel = 0; channel < channels; channel++) {
    const top = Math.floor(channel / columns) * (height + gap);
    const left = channel % columns * (width + gap);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++, bit++) {
        const lit = bits[bit >> 3] >> (7 - bit % 8) & 1;
        image.data.set([...(lit ? spike : rest), 255], 4 * ((top + row) * canvas.width + left + column));
      }
    }
  }
  context.putImageData(image, 0, 0);
  const scale = Math.max(1, Math.floor(LARGEST / Math.max(canvas.width, canvas.height)));
  canvas.style.width = `${canvas.width * Math.min(scale, 12)}px`;
}

function percent(rate) {
  return `${(100 * rate).toFixed(1)} %`;
}

/** Make a block with the pictures of a layer. */
export function layerBlock(layer) {
  const block = document.createElement("section");
  block.className = "layer";
  const title = document.createElement("h3");
  const shape = document.createElement("span");
  const {channels, height, width} = layer;
  shape.textContent = `${channels} channels of ${height} x ${width}, rate ${percent(layer.rate)}`;
  title.append(layer.title, shape);
  const steps = document.createElement("div");
  steps.className = "steps";
  const bits = fromBase64(layer.spikes);
  layer.rates.forEach((rate, step) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Layer ${layer.title}, timestep ${step + 1}: `
      + `${Math.round(rate * channels * height * width)} of ${channels * height * width} neurons fire`);
    drawStep(canvas, layer, bits, step);
    const caption = document.createElement("figcaption");
    caption.textContent = `t = ${step + 1}, rate ${percent(rate)}`;
    figure.append(canvas, caption);
    steps.append(figure);
  });
  block.append(title, steps);
  return block;
}
