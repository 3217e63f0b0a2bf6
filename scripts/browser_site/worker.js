// Runs next to the page, so that the page stays responsive: loads the model and captions samples.
//
// It gets {id, samples} and answers {id, caption} or {id, problem}; first of all {rule} or {problem}.

import { Captioner } from "./captioner.js";

const loading = Captioner.load(new URL("model/", self.location.href));

loading.then(
  ({ model }) => self.postMessage({ rule: model.input, licence: model.licence }),
  (error) => self.postMessage({ problem: error.message }),
);

let before = Promise.resolve(); // one sound after another: the graphs share their memory

self.onmessage = ({ data: { id, samples } }) => {
  before = before.then(async () => {
    try {
      self.postMessage({ id, caption: await (await loading).caption(samples) });
    } catch (error) {
      self.postMessage({ id, problem: error.message });
    }
  });
};
