// This device's microphone: pieces of samples, and their level.

export const hasMicrophone = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Why there is no microphone, in words. */
export function missing() {
  return window.isSecureContext
    ? "This browser has no microphone to offer."
    : "Browsers give the microphone only to pages that came over https, or from this machine itself. This page did not. " +
        "Start the server with TLS (auricle serve --tls), or with --listen to hear its own microphone.";
}

/** Why the microphone did not open, in words. */
export function refusal(error) {
  if (error.name === "NotAllowedError") return "The microphone was not allowed. Allow it next to the address of this page, and press Listen again.";
  if (error.name === "NotFoundError") return "No microphone was found.";
  return hasMicrophone() ? `The microphone cannot be opened: ${error.message}` : missing();
}

/**
 * Opens the microphone.
 *
 * `piece(samples, level)` is called ten times a second, with 16-bit samples and dBFS; `ended()` if it is taken away.
 * Returns its sampling rate in Hz, and a function that closes it.
 */
export async function open({ piece, ended }) {
  const stream = await navigator.mediaDevices.getUserMedia({
    // What makes speech clear for others makes other sounds go away.
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
    context.close();
  };
  try {
    await context.audioWorklet.addModule("capture.js");
  } catch (error) {
    close();
    throw error;
  }
  const source = context.createMediaStreamSource(stream);
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  capture.port.onmessage = ({ data }) => piece(data.samples, data.level);
  source.connect(capture);
  stream.getAudioTracks()[0].addEventListener("ended", ended);
  return { rate: context.sampleRate, close };
}
