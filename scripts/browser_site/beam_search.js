// Beam search over the decoder's steps. docs/portable.md, "Search".

/**
 * Returns finished captions, the best first: each {tokens, score}.
 *
 * `step(tokens, parents)` gives the log-probabilities of the next token, a row for each hypothesis.
 * `followers(tokens)` lists the tokens that may follow others; `allowed` (words) tells which the plan allows.
 */
export async function beamSearch(rule, step, followers, allowed) {
  let living = [{ tokens: [], total: 0 }];
  let parents = [0];
  const finished = [];
  for (let length = 0; length <= rule.max_length; length++) {
    const last = living.map(({ tokens }) => tokens.at(-1) ?? rule.start);
    const rows = await step(last, parents);
    const choices = [];
    living.forEach(({ tokens, total }, row) => {
      for (const token of possible(rule, tokens, followers(tokens), allowed)) {
        choices.push({ total: total + rows[row][token], row, token });
      }
    });
    choices.sort((a, b) => b.total - a.total || a.row - b.row || a.token - b.token);
    const grown = [];
    parents = [];
    for (const [rank, { total, row, token }] of choices.slice(0, 2 * rule.beam).entries()) {
      if (grown.length === rule.beam) break;
      if (token !== rule.end) {
        grown.push({ tokens: [...living[row].tokens, token], total });
        parents.push(row);
      } else if (rank < rule.beam) {
        finished.push({ tokens: living[row].tokens, score: total / (length + 1) ** rule.length_penalty });
      }
    }
    if (!grown.length || finished.length >= rule.beam) break;
    living = grown;
  }
  return finished.sort((a, b) => b.score - a.score).slice(0, rule.beam);
}

/** The tokens that may come next. */
function possible(rule, tokens, followers, allowed) {
  if (tokens.length === rule.max_length) return followers.filter((token) => token === rule.end);
  const said = new Set(rule.no_repeat_words ? tokens.filter((token) => !rule.repeatable.includes(token)) : []);
  const size = rule.no_repeat_ngram;
  if (size && tokens.length >= size) {
    const beginning = tokens.slice(tokens.length - size + 1);
    for (let place = 0; place + size <= tokens.length; place++) {
      if (beginning.every((token, offset) => tokens[place + offset] === token)) said.add(tokens[place + size - 1]);
    }
  }
  return followers.filter((token) => {
    if (token === rule.end) return tokens.length >= rule.min_length;
    return allowed[token] && !said.has(token) && !rule.never.includes(token);
  });
}
