// Pictures of the camera as JPEG, no wider than the encoders need: the newest, whenever one is wanted.
const WIDTH = 480;

export function watch(
  video: HTMLVideoElement,
  wanted: () => boolean,
  onPicture: (jpeg: Uint8Array, taken_ms: number) => void,
): () => void {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  let coding = false;
  let stopped = false;
  let handle = video.requestVideoFrameCallback(shown);

  function shown(now_ms: number): void {
    if (stopped) return;
    handle = video.requestVideoFrameCallback(shown);
    if (!context || coding || video.videoWidth === 0 || !wanted()) return;
    const scale = Math.min(1, WIDTH / video.videoWidth);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    coding = true;
    canvas.toBlob(
      (blob) => {
        void (blob?.arrayBuffer() ?? Promise.resolve(undefined)).then((bytes) => {
          coding = false;
          if (bytes && !stopped) onPicture(new Uint8Array(bytes), now_ms);
        });
      },
      "image/jpeg",
      0.8,
    );
  }

  return () => {
    stopped = true;
    video.cancelVideoFrameCallback(handle);
  };
}
