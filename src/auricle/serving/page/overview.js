// Waveform and spectrogram of a whole file, as its server draws them: a byte for each value, columns evenly in time.

export class Overview {
  /** `rate`: columns a second. */
  constructor(rate) {
    this.rate = rate;
    this.bands = 0;
    this.columns = 0;
    this.peaks = new Uint8Array(0);
    this.levels = new Uint8Array(0); // columns after one another, low bands first
    this.histogram = new Float64Array(256);
    this.loudest = 1;
  }

  append({ columns, bands, peaks, spectrogram }) {
    this.bands = bands;
    const levels = bytes(spectrogram);
    const heights = bytes(peaks);
    const needed = this.columns + columns;
    if (needed > this.peaks.length) {
      this.peaks = grown(this.peaks, 2 * needed);
      this.levels = grown(this.levels, 2 * needed * bands);
    }
    this.peaks.set(heights, this.columns);
    this.levels.set(levels, this.columns * bands);
    for (const level of levels) this.histogram[level]++;
    for (const height of heights) this.loudest = Math.max(this.loudest, height);
    this.columns = needed;
  }

  get seconds() {
    return this.columns / this.rate;
  }

  /** The levels that colours begin and end with: next to silence all is dark, and few peaks are cut. */
  range() {
    const total = this.histogram.reduce((sum, count) => sum + count, 0);
    const at = (share) => {
      let passed = 0;
      return this.histogram.findIndex((count) => (passed += count) >= share * total);
    };
    const high = Math.max(at(0.998), 40);
    return [Math.max(at(0.25), high - 110), high];
  }

  /** An image of the spectrogram from `start` to `end` seconds, at most `width` pixels wide and one a band high. */
  image(start, end, width, colours) {
    const first = Math.max(0, Math.floor(start * this.rate));
    const last = Math.min(this.columns, Math.ceil(end * this.rate));
    const count = Math.max(1, Math.min(width, last - first));
    const image = new ImageData(count, Math.max(1, this.bands));
    const [low, high] = this.range();
    const pixels = new Uint32Array(image.data.buffer);
    const shades = new Uint32Array(colours.buffer);
    for (let x = 0; x < count; x++) {
      const from = first + Math.floor(((last - first) * x) / count);
      const to = Math.max(from + 1, first + Math.floor(((last - first) * (x + 1)) / count));
      for (let band = 0; band < this.bands; band++) {
        let sum = 0;
        for (let c = from; c < to; c++) sum += this.levels[c * this.bands + band];
        const shade = Math.max(0, Math.min(255, ((sum / (to - from) - low) / (high - low)) * 255));
        pixels[(this.bands - 1 - band) * count + x] = shades[shade | 0];
      }
    }
    return { image, start: first / this.rate, end: last / this.rate };
  }

  /** The largest peak, from 0 to 1 of the file's, between two times. */
  peak(start, end) {
    const first = Math.max(0, Math.floor(start * this.rate));
    const last = Math.min(this.columns, Math.max(first + 1, Math.ceil(end * this.rate)));
    let peak = 0;
    for (let c = first; c < last; c++) peak = Math.max(peak, this.peaks[c]);
    return peak / this.loudest;
  }
}

function bytes(base64) {
  const text = atob(base64);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

function grown(array, length) {
  const larger = new Uint8Array(length);
  larger.set(array);
  return larger;
}
