// The page's colours for canvases, which style sheets do not reach.

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

/** A custom property's colour as [red, green, blue]. */
export function colour(name) {
  const element = document.createElement("i");
  element.style.color = `var(--${name})`;
  document.body.append(element);
  probe.fillStyle = getComputedStyle(element).color;
  element.remove();
  probe.fillRect(0, 0, 1, 1);
  return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

export const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;

/** 256 colours from the card's over the accent to the ink, as bytes of red, green, blue and opacity. */
export function ramp() {
  const stops = [colour("card"), colour("accent"), colour("ink")];
  const bytes = new Uint8ClampedArray(256 * 4);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * 2;
    const [a, b, t] = place < 1 ? [stops[0], stops[1], place] : [stops[1], stops[2], place - 1];
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = a[c] + (b[c] - a[c]) * t;
    bytes[4 * i + 3] = 255;
  }
  return bytes;
}

/** Clears a canvas at its size on the screen; returns its context in CSS pixels, its width and its height. */
export function prepared(canvas, height = canvas.clientHeight) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width, height];
}

export const schemeChanged = (redraw) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
