// The microphone as 16-bit sound, by 16 kHz where the browser resamples, at its own rate otherwise.
import worklet from "./pcm-worklet.js?url";

const WANTED_HZ = 16_000;

export interface Microphone {
  rate_hz: number;
  /** Loudness now, 0 to 1. */
  level: () => number;
  close: () => void;
}

export async function listen(
  media: MediaStream,
  onSound: (pcm: Int16Array<ArrayBuffer>) => void,
): Promise<Microphone> {
  let context = new AudioContext({ sampleRate: WANTED_HZ });
  let source: MediaStreamAudioSourceNode;
  try {
    source = context.createMediaStreamSource(media);
  } catch {
    // Firefox connects no microphone to a context of another rate.
    await context.close();
    context = new AudioContext();
    source = context.createMediaStreamSource(media);
  }
  // From where this file came, which is not the page's own host where the page is somebody else's.
  await context.audioWorklet.addModule(new URL(worklet, import.meta.url).href);
  const node = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  let level = 0;
  node.port.onmessage = ({ data }: MessageEvent<Int16Array<ArrayBuffer>>) => {
    let sum = 0;
    for (const sample of data) sum += sample * sample;
    level = Math.min(1, (4 * Math.sqrt(sum / data.length)) / 32767);
    onSound(data);
  };
  source.connect(node);
  await context.resume();
  return {
    rate_hz: context.sampleRate,
    level: () => level,
    close: () => {
      node.port.onmessage = null;
      source.disconnect();
      void context.close();
    },
  };
}
