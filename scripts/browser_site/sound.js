// Sound files to mono samples at the model's rate.

import { fileRate } from "./file_rate.js";
import { resample } from "./resample.js";

const CANCELLED = 0.01; // the energy that the sum of two channels keeps if they cancel: under a hundredth

/** Decodes a file (an ArrayBuffer) with the browser's decoders: Float32Array of mono samples at `rate`. */
export async function decode(content, rate) {
  // decodeAudioData resamples to the rate of its context and takes away the highest bands. At the file's own rate it
  // leaves them alone; at twice ours, those that it takes away are none that the model hears, if the file has them.
  const decodedRate = fileRate(content) ?? 2 * rate;
  const context = new OfflineAudioContext(1, 1, decodedRate);
  const buffer = await context.decodeAudioData(content);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
  return resample(mono(channels, decodedRate), decodedRate, rate);
}

/** The mean of the channels, second by second, without those that would cancel a louder one. */
function mono(channels, rate) {
  if (channels.length === 1) return channels[0];
  const whole = new Float32Array(channels[0].length);
  for (let start = 0; start < whole.length; start += rate) {
    const kept = audible(channels.map((channel) => channel.subarray(start, start + rate)));
    for (const channel of kept) channel.forEach((sample, place) => (whole[start + place] += sample / kept.length));
  }
  return whole;
}

/** The channels that no louder channel cancels. Swapped wires make one the inverse of another. */
function audible(channels) {
  const product = (a, b) => a.reduce((total, sample, place) => total + sample * b[place], 0);
  const loudestFirst = channels.map((samples) => ({ samples, energy: product(samples, samples) })).sort((a, b) => b.energy - a.energy);
  const kept = [];
  for (const channel of loudestFirst) {
    const cancels = ({ samples, energy }) => {
      const both = energy + channel.energy;
      return both + 2 * product(samples, channel.samples) < CANCELLED * both;
    };
    if (!(channel.energy > 0 && kept.some(cancels))) kept.push(channel);
  }
  return kept.map(({ samples }) => samples);
}
