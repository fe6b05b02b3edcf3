"""What a stream has seen and heard lately; every picture and every piece of sound is worked on once."""

from __future__ import annotations

from collections import deque

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fedaffect.edge.encoders.speech import SpeechEncoder, prepare_sound
from fedaffect.edge.encoders.vision import VisionEncoder, prepare_frames, spread
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.face_track import FaceTrack
from fedaffect.edge.media.sound import require_sound
from fedaffect.edge.media.timed import TimedPicture
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ, VOICE_FRAME
from fedaffect.edge.runtime.faces import Found, is_blank, is_crop, where
from fedaffect.edge.runtime.intake import NO_VOICE, Taken
from fedaffect.edge.sample import Frames, Waveform


class Hearing:
    """The last seconds of a stream's sound at 16 kHz, and when in them somebody spoke.

    The voice detector hears each piece once and keeps its state, where a sample by itself starts it again at its
    beginning; and a window begins and ends on the detector's frames of 32 ms. Both are approximations.

    Parameters
    ----------
    encoder : SpeechEncoder
        Whose detector and settings are used.
    keep_s : float
        How much is kept.
    begins_s : float
        When in the stream its first piece begins.
    """

    def __init__(self, encoder: SpeechEncoder, keep_s: float, begins_s: float = 0.0) -> None:
        self._encoder = encoder
        self._keep = max(1, round(keep_s * SAMPLE_RATE_HZ / VOICE_FRAME)) * VOICE_FRAME
        self._follower = encoder.voice.follow()
        self._resampler: soxr.ResampleStream | None = None
        self._rate_hz = 0
        self._samples = np.zeros(0, np.float32)
        self._voiced = np.zeros(0, np.float32)
        self._first = round(begins_s * SAMPLE_RATE_HZ)  # place of samples[0] in the stream

    def add(self, sound: Waveform) -> None:
        """Hear the next piece.

        Raises
        ------
        DataError
            If it is not mono, its values are not numbers, or its rate differs from the one before.
        """
        samples = np.asarray(sound.samples, np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise DataError("the stream's sound must be mono and hold numbers; check the microphone's format")
        if self._rate_hz not in (0, sound.sample_rate_hz):
            raise DataError(
                f"the sound's rate changed from {self._rate_hz} to {sound.sample_rate_hz} Hz; start a new stream"
            )
        if self._rate_hz == 0:
            self._rate_hz = sound.sample_rate_hz
            if self._rate_hz != SAMPLE_RATE_HZ:
                self._resampler = soxr.ResampleStream(self._rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._append(samples)

    def finish(self) -> None:
        """Nothing more comes: what the resampler and the last unfinished frame still hold is taken as it is."""
        if self._resampler is not None:
            self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = None
        self._append(np.zeros(-len(self._samples) % VOICE_FRAME, np.float32))

    def window(self, start_s: float, end_s: float) -> Waveform | None:
        """Sound between two moments, as far as it was heard; None where there is none."""
        start, stop = self._frames(start_s, end_s)
        if stop <= start:
            return None
        return Waveform(self._samples[start * VOICE_FRAME : stop * VOICE_FRAME], SAMPLE_RATE_HZ)

    def take(self, start_s: float, end_s: float) -> Taken | None:
        """What the encoder takes of the sound between two moments; None where there is none.

        Raises
        ------
        DataError
            If it is silent.
        """
        sound = self.window(start_s, end_s)
        if sound is None:
            return None
        require_sound(sound)
        start, stop = self._frames(start_s, end_s)
        voiced = self._voiced[start:stop]
        speaks = bool((voiced >= self._encoder.settings.voice_threshold).any())
        return Taken(prepare_sound(sound, voiced, self._encoder.settings), (), "" if speaks else NO_VOICE, sound)

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._samples = np.concatenate([self._samples, samples])
        whole = len(self._samples) // VOICE_FRAME
        fresh = self._samples[len(self._voiced) * VOICE_FRAME : whole * VOICE_FRAME]
        self._voiced = np.concatenate([self._voiced, self._follower.feed(fresh)])
        drop = max(0, whole * VOICE_FRAME - self._keep)
        if drop:
            self._samples, self._voiced = self._samples[drop:], self._voiced[drop // VOICE_FRAME :]
            self._first += drop

    def _frames(self, start_s: float, end_s: float) -> tuple[int, int]:
        """First and last frame, counted in what is kept, whose voice is known."""
        start = int(start_s * SAMPLE_RATE_HZ - self._first) // VOICE_FRAME
        stop = int(end_s * SAMPLE_RATE_HZ - self._first) // VOICE_FRAME
        return max(0, start), min(len(self._voiced), stop)


class Sight:
    """The last seconds of a stream's pictures: a token of each in which there was a face.

    Parameters
    ----------
    encoder : VisionEncoder
        Encodes them.
    keep_s : float
        How long tokens are kept.
    keep_images : bool
        Keep the pictures too, for a cloud that is to see them.
    """

    def __init__(self, encoder: VisionEncoder, keep_s: float, keep_images: bool = False) -> None:
        self._encoder = encoder
        self._track = None if encoder.detector is None else FaceTrack(encoder.detector)
        self._keep_s = keep_s
        self._keep_images = keep_images
        self._seen: deque[tuple[float, NDArray[np.float32] | None, NDArray[np.uint8] | None]] = deque()
        self._due_s = float("-inf")

    def add(self, picture: TimedPicture) -> None:
        """See the next picture; those that come faster than the encoder's pace are passed over.

        Raises
        ------
        DataError
            If it is not RGB of shape (H, W, 3).
        """
        image, step_s = picture.image, 1 / self._encoder.settings.frames_per_second
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
            raise DataError(f"a picture of shape {image.shape}, {image.dtype}: give RGB as uint8 of shape (H, W, 3)")
        # Half a millisecond forgives times that were rounded down.
        if picture.time_s + 5e-4 < self._due_s:
            return
        # One step on from when it was due, so that a camera's own jitter does not slow the pace.
        late_s = picture.time_s - self._due_s
        self._due_s = (self._due_s if late_s < step_s / 2 else picture.time_s) + step_s
        self._seen.append((picture.time_s, self._token(picture), image if self._keep_images else None))
        while self._seen and self._seen[0][0] < picture.time_s - self._keep_s:
            self._seen.popleft()

    def tokens(self, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """Features between two moments, shape (N, W); None where no picture came.

        Raises
        ------
        DataError
            If pictures came and none shows a face.
        """
        within = [token for time_s, token, _ in self._seen if start_s <= time_s + 5e-4 < end_s]
        if not within:
            return None
        faces = [token for token in within if token is not None]
        if not faces:
            raise DataError("no face was found; turn the camera to the face or come nearer")
        return np.stack([faces[place] for place in spread(len(faces), self._encoder.settings.most_frames)])

    def frames(self, start_s: float, end_s: float) -> Frames | None:
        """Pictures between two moments, where they are kept."""
        images = [image for time_s, _, image in self._seen if image is not None and start_s <= time_s + 5e-4 < end_s]
        if not images or any(image.shape != images[0].shape for image in images):
            return None
        return Frames(np.stack(images), self._encoder.settings.frames_per_second)

    def _token(self, picture: TimedPicture) -> NDArray[np.float32] | None:
        settings = self._encoder.settings
        frames = Frames(picture.image[None], 0.0)
        found = Found(None)
        if self._track is not None:
            height, width = picture.image.shape[:2]
            face = self._track.follow(picture.image, picture.time_s)
            if face is None and (not is_crop(height, width) or is_blank(picture.image[None])):
                return None
            if face is not None:
                found = where([face], height, width, settings)
        (features,) = self._encoder.encode([prepare_frames(found.upright(frames), found.faces, settings)])
        token: NDArray[np.float32] = features[0]
        return token
