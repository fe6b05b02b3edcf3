// Pictures of the camera as JPEG, five a second, no wider than the encoders need.
const PICTURES_PER_S = 5;
const WIDTH = 480;

export function watch(video: HTMLVideoElement, onPicture: (jpeg: Uint8Array) => void): () => void {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const timer = setInterval(() => {
    if (!context || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0) return;
    const scale = Math.min(1, WIDTH / video.videoWidth);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(
      (blob) => void blob?.arrayBuffer().then((bytes) => onPicture(new Uint8Array(bytes))),
      "image/jpeg",
      0.85,
    );
  }, 1000 / PICTURES_PER_S);
  return () => clearInterval(timer);
}
