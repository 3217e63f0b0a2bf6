// Cuts a sound into the stretches that get one caption each. docs/portable.md, "Input".

/** Returns [{start, end}] in samples; `rule` is `input` of model.json. */
export function stretches(length, rule) {
  const most = Math.floor((rule.longest_seconds + rule.spare_seconds) * rule.rate);
  if (length <= most) return [{ start: 0, end: Math.min(length, Math.floor(rule.longest_seconds * rule.rate)) }];
  const size = rule.window_seconds * rule.rate;
  const found = [];
  for (let start = 0; start < length; start += size) found.push({ start, end: Math.min(length, start + size) });
  const last = found.at(-1);
  if (last.end - last.start < rule.shortest_window_seconds * rule.rate) found.pop();
  return found;
}
