// Runs on the audio thread: one channel, 16-bit, a tenth of a second a message.
const LENGTH = Math.round(sampleRate / 10);

class Pcm extends AudioWorkletProcessor {
  piece = new Int16Array(LENGTH);
  filled = 0;

  process([channels]) {
    for (const sample of channels?.[0] ?? []) {
      this.piece[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled < LENGTH) continue;
      this.port.postMessage(this.piece, [this.piece.buffer]);
      this.piece = new Int16Array(LENGTH);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("pcm", Pcm);
