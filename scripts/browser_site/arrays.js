// Small functions on numbers, as docs/portable.md means them.

/** The nearest whole number; a half goes to the even one. */
export function round(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);

export const mean = (values) => sum(values) / values.length;

/** The index of the largest value, the first of equal ones. */
export const argmax = (values) => values.reduce((best, value, index) => (value > values[best] ? index : best), 0);

/** The value below which a share of all values lies, interpolated linearly; `percent` is from 0 to 100. */
export function percentile(values, percent) {
  const sorted = Float64Array.from(values).sort();
  const place = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Pearson's correlation of values and their indices. */
export function correlationWithTime(values) {
  const middle = (values.length - 1) / 2;
  const average = mean(values);
  let [product, ofValues, ofTimes] = [0, 0, 0];
  values.forEach((value, time) => {
    product += (value - average) * (time - middle);
    ofValues += (value - average) ** 2;
    ofTimes += (time - middle) ** 2;
  });
  return product / Math.sqrt(ofValues * ofTimes);
}
