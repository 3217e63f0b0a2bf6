// Brings samples to another rate, about as FFmpeg does for Python: a sinc under a Kaiser window.
//
// The browser's own resamplers take away the highest bands, which the model hears.

const TAPS = 32; // zero crossings of the sinc
const CUTOFF = 0.97; // of the lower Nyquist frequency
const BETA = 9; // of the Kaiser window

/** Mono samples at `from` Hz -> mono samples at `to` Hz. */
export function resample(samples, from, to) {
  if (from === to) return samples;
  const common = divisor(from, to);
  const [stride, phases] = [from / common, to / common];
  const factor = Math.min(1, (CUTOFF * to) / from);
  const reach = Math.ceil(TAPS / 2 / factor);
  const kernels = Array.from({ length: phases }, (_, phase) => kernel(phase / phases, factor, reach));
  const found = new Float32Array(Math.ceil((samples.length * to) / from));
  for (let place = 0; place < found.length; place++) {
    const weights = kernels[(place * stride) % phases];
    const first = Math.floor((place * stride) / phases) - reach + 1;
    const begin = Math.max(0, -first);
    const end = Math.min(weights.length, samples.length - first);
    let total = 0;
    for (let tap = begin; tap < end; tap++) total += weights[tap] * samples[first + tap];
    found[place] = total;
  }
  return found;
}

/** Weights of the samples around a point that lies `fraction` of a sample after one of them; their sum is 1. */
function kernel(fraction, factor, reach) {
  const weights = Float64Array.from({ length: 2 * reach }, (_, tap) => {
    const distance = tap - reach + 1 - fraction;
    const x = Math.PI * distance * factor;
    const share = (2 * distance * factor) / TAPS;
    return (x === 0 ? 1 : Math.sin(x) / x) * bessel(BETA * Math.sqrt(Math.max(0, 1 - share * share)));
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** The modified Bessel function of the first kind, of order 0, by its series. */
function bessel(x) {
  let [term, total] = [1, 1];
  for (let k = 1; term > total * 1e-12; k++) {
    term *= (x / 2 / k) ** 2;
    total += term;
  }
  return total;
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}
