// An audio worklet: passes the samples of a microphone on, in pieces of a tenth of a second with 16 bits.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.power = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sample = 0;
      for (const channel of channels) sample += channel[i] / channels.length;
      this.power += sample * sample;
      this.piece[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === this.piece.length) this.#handOn();
    }
    return true;
  }

  #handOn() {
    const level = 10 * Math.log10(Math.max(1e-10, this.power / this.filled));
    const full = this.piece;
    this.piece = new Int16Array(full.length);
    this.port.postMessage({ samples: full.buffer, level }, [full.buffer]);
    this.filled = this.power = 0;
  }
}

registerProcessor("capture", Capture);
