"""Counts the bytes that a file promises but lacks.

FFmpeg accepts a file that ends early. A header may also promise more than its program wrote, for
example if a recorder crashed, or an editor cut the file and kept the header. Such a file is whole:
its outer length agrees with the file, or its last frame is complete.
"""

import struct

_SLACK_BYTES = 64  # these may be missing without a loss of sound
# Programs that write into a pipe do not know the length. sox, arecord and ffmpeg write at least
# this number instead.
PLACEHOLDER = 0x7F00_0000
_LONG_PLACEHOLDER = 1 << 62  # the same for lengths of 64 bits

# Layer III: kbit/s by index, and Hz by index, of MPEG 1; MPEG 2 and 2.5 divide the rates.
_BIT_RATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


def missing_bytes(container: str, head: bytes, tail: bytes, size: int, last_packet: bytes) -> int:
    """Returns the number of bytes that a file lacks; 0 if it is whole or cannot be checked.

    Args:
        container: FFmpeg's name of the container.
        head: the file's first bytes.
        tail: its last bytes.
        size: bytes of the file.
        last_packet: the last packet that was read, which shows the end of an MP3; may be empty.
    """
    match container:
        case "wav" | "aiff":
            return _missing_of_chunks(head, size)
        case "w64":
            return _missing_of(int.from_bytes(head[16:24], "little"), size, _LONG_PLACEHOLDER)
        case "au":
            start, length = struct.unpack_from(">4xII", head.ljust(12, b"\0"))
            return _missing_of(start + length, size, PLACEHOLDER)
        case "mp3":
            return 0 if _is_whole_frame(last_packet) else _missing_of_mp3(head, size)
        case "matroska,webm":
            return max(0, (_segment_end(head) or 0) - size)
        case "ogg":
            return _missing_of_page(tail)
    return 0


def _missing_of(promised: int, size: int, placeholder: int) -> int:
    missing = promised - size
    return missing if missing > _SLACK_BYTES and promised < placeholder else 0


def _missing_of_chunks(head: bytes, size: int) -> int:
    """Counts the missing bytes of a WAV or an AIFF, which consist of chunks."""
    if head[:4] not in (b"RIFF", b"RF64", b"FORM"):
        return 0
    order = ">" if head[:4] == b"FORM" else "<"
    (whole,) = struct.unpack_from(f"{order}4xI", head.ljust(8, b"\0"))
    long_length = None
    at = 12  # after "RIFF", a length and "WAVE"
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(f"{order}4sI", head, at)
        if kind == b"ds64" and at + 24 <= len(head):
            whole, long_length = struct.unpack_from("<QQ", head, at + 8)
        if kind in (b"data", b"SSND"):
            if long_length is not None:
                return _missing_of(at + 8 + long_length, size, _LONG_PLACEHOLDER)
            if abs(whole + 8 - size) <= _SLACK_BYTES:
                return 0
            return _missing_of(at + 8 + length, size, PLACEHOLDER)
        at += 8 + length + length % 2
    return 0


def _missing_of_mp3(head: bytes, size: int) -> int:
    """Counts the missing bytes of an MP3 whose first frame states the number of bytes."""
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if not 36 <= at <= len(head) - 16:
        return 0
    flags, *counts = struct.unpack_from(">3I", head, at + 4)  # frames if bit 0, bytes if bit 1
    length = counts[flags & 1]
    missing = at - 36 + length - size
    return missing if flags < 16 and flags & 2 and missing > max(1 << 14, length // 20) else 0


def _is_whole_frame(packet: bytes) -> bool:
    """Returns whether a packet begins with a complete frame of Layer III."""
    if len(packet) < 4 or packet[0] != 0xFF or packet[1] & 0xE6 != 0xE2:
        return False
    version = packet[1] >> 3 & 3  # 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    rate_index, bit_rate_index = packet[2] >> 2 & 3, packet[2] >> 4
    if version == 1 or rate_index == 3 or bit_rate_index in (0, 15):
        return False
    rate = _RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    bit_rate = 1000 * _BIT_RATES[1 if version == 3 else 2][bit_rate_index]
    samples = 1152 if version == 3 else 576
    return len(packet) >= samples // 8 * bit_rate // rate + (packet[2] >> 1 & 1)


def _segment_end(head: bytes) -> int | None:
    """Returns the size in bytes that a Matroska file states, or None if it states none."""
    at = 4
    for element in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # EBML, Segment
        first = head[at] if head[at - 4 : at] == element and at < len(head) else 0
        width = 9 - first.bit_length()  # bytes of the length that follows
        length = int.from_bytes(head[at : at + width]) & (1 << 7 * width) - 1
        if not first or length == (1 << 7 * width) - 1:
            return None
        at += width + length + 4
    return at - 4


def _missing_of_page(tail: bytes) -> int:
    """Counts the missing bytes of the last page of an Ogg file."""
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    # A page has a header of 27 bytes, the lengths of its segments, and the segments.
    segments = int.from_bytes(tail[at + 26 : at + 27])
    lengths = tail[at + 27 : at + 27 + segments]
    return max(0, at + 27 + segments + sum(lengths) - len(tail))
