// The sampling rate that the header of a sound file tells. The browser's decoder does not tell it.

const SEARCHED_BYTES = 4096;

/** The rate in Hz of a WAV, FLAC or Ogg Vorbis file (an ArrayBuffer); null for other files. */
export function fileRate(content) {
  const view = new DataView(content, 0, Math.min(SEARCHED_BYTES, content.byteLength));
  const letters = new TextDecoder("latin1").decode(view);
  const rate = read(view, letters);
  return rate >= 8000 && rate <= 96_000 ? rate : null; // what every browser can render at
}

function read(view, letters) {
  const after = (mark, offset, bytes) => {
    const place = letters.indexOf(mark);
    return place >= 0 && place + offset + bytes <= view.byteLength ? place + offset : null;
  };
  if (letters.startsWith("RIFF")) {
    const place = after("fmt ", 12, 4);
    return place && view.getUint32(place, true);
  }
  if (letters.startsWith("fLaC")) return view.byteLength < 22 ? null : view.getUint32(18) >>> 12; // 20 bits
  if (letters.startsWith("OggS")) {
    const place = after("\x01vorbis", 12, 4);
    return place && view.getUint32(place, true);
  }
  return null;
}
