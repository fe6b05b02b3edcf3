"""What an app holds: a bundle that answers, alone or with the cloud's help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.adaptation import Adapter, Policy
from fedaffect.edge.attention import Attention
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.cloud.client import CloudClient
from fedaffect.edge.cloud.sizes import sendable
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.media.timed import Pictures, Sounds, Words
from fedaffect.edge.offload import OffloadPolicy
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.runtime.cascade import Cascade, Decided
from fedaffect.edge.runtime.conversation import Conversation
from fedaffect.edge.runtime.intake import as_sample, take_in, with_paths
from fedaffect.edge.runtime.judging import judge, samples_of
from fedaffect.edge.runtime.local import Transcriber, encode, encoded, local_prediction, shares_of
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.runtime.question import Question
from fedaffect.edge.runtime.smoothing import Smoother
from fedaffect.edge.runtime.windows import Window, WindowConfig, Windows
from fedaffect.edge.sample import Sample

if TYPE_CHECKING:
    from fedaffect.edge.adaptation.learning import Learner
    from fedaffect.edge.personal import PersonalPart
    from fedaffect.edge.runtime.recorder import Recorder, StreamRecorder
    from fedaffect.edge.store import Journal, LateAnswer, Receipt

# Of probabilities, the modalities that they rest on, and whether the encoders could judge none; gives notes too.
Adjust: TypeAlias = Callable[[NDArray[np.float64], Collection[str], bool], tuple[NDArray[np.float64], tuple[str, ...]]]
# Calls of asyncio that may be under way; more wait their turn.
_CALLS: Final = 4


class EdgeRuntime(AbstractContextManager["EdgeRuntime"]):
    """Recognises emotion on a device.

    Safe to call from several threads. A prediction works with one bundle from beginning to end, whatever is swapped
    in meanwhile.

    Parameters
    ----------
    opened : OpenBundle
        What to answer with; apps use :meth:`load`.
    cascade : Cascade
        Asks the cloud where that pays.
    transcriber : callable, optional
        Words of a sound at 16 kHz.
    threads : int
        For bundles that are swapped in.
    recorder : Recorder, optional
        Remembers what the journal is opened for.
    personal : PersonalPart, optional
        Adjusts the device's own answers to what its user said before.
    adapter : callable, optional
        Makes what follows one person's answers and says how the app should adapt.
    learner : Learner, optional
        Learns what helps; closed with the runtime.
    """

    def __init__(
        self,
        opened: OpenBundle,
        cascade: Cascade,
        transcriber: Transcriber | None = None,
        threads: int = 1,
        recorder: Recorder | None = None,
        personal: PersonalPart | None = None,
        adapter: Callable[[], Adapter] | None = None,
        learner: Learner | None = None,
    ) -> None:
        self._opened: OpenBundle | None = opened
        self._cascade = cascade
        self._transcriber = transcriber
        self._threads = threads
        self._recorder = recorder
        self._personal = personal
        self._adapter = adapter
        self._learner = learner
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(_CALLS, thread_name_prefix="fedaffect-edge")

    @classmethod
    def load(
        cls,
        bundle: Path | Bundle | None = None,
        *,
        cloud: CloudClient | None = None,
        policy: OffloadPolicy | None = None,
        privacy: str = "never",
        transcriber: Transcriber | None = None,
        threads: int = 1,
        journal: Journal | None = None,
        on_late_answer: LateAnswer | None = None,
        personal: bool = False,
        adapt: bool | Policy = True,
        language: str = "en",
        adapt_learns: bool = False,
    ) -> EdgeRuntime:
        """Open a bundle.

        Parameters
        ----------
        bundle : Path or Bundle, optional
            Its folder; the default one if not given.
        cloud : CloudClient, optional
            Whom to ask where the device is unsure.
        policy : OffloadPolicy, optional
            When to ask. If not given, by the thresholds in the calibration of the bundle that answers, also after a
            swap.
        privacy : {"never", "features", "raw"}
            What may leave the device.
        transcriber : callable, optional
            Finds the words where no text is given, such as `fedaffect.edge.transcription.Whisper`.
        threads : int
            Samples that an encoder works on at a time.
        journal : `fedaffect.edge.store.Journal`, optional
            Remembers what it was opened for: examples, feedback, questions that wait for the cloud. With a cloud, and
            unless ``privacy`` is ``never``, what waits is delivered in the background. Closed with the runtime.
        on_late_answer : callable, optional
            Of request id and prediction: takes the answers to questions that waited, on a thread of its own, at least
            once each. Without one they are had by :meth:`late_answers`.
        personal : bool
            Adjust answers to what this person said of answers before.
        adapt : bool or `fedaffect.edge.adaptation.Policy`
            Say with each answer how the app should adapt, by that policy or the project's own.
        language : str
            Of the sentences in it, such as ``en`` or ``de``.
        adapt_learns : bool
            Learn on this device which response helps this person, from :meth:`reward`.

        Raises
        ------
        BundleError
            If there is no bundle, it is refused, or it has no fusion.
        ConfigError
            If ``privacy`` is unknown, late answers are wanted without a journal to wait in, or there are no words in
            ``language``.
        """
        if on_late_answer is not None and journal is None:
            raise ConfigError("late answers come to questions that a journal lets wait; give journal=Journal(...) too")
        followed = Policy.read() if adapt is True else adapt
        if followed:
            Adapter(followed, language)
        opened = OpenBundle(bundle, threads)
        cascade = Cascade(cloud, policy, privacy)
        recorder = None
        if journal is not None:
            # Here, not above: a runtime that remembers nothing needs no store.
            from fedaffect.edge.runtime.recorder import Recorder

            recorder = Recorder(journal, cloud, privacy, on_late_answer)
        part = None
        if personal:
            from fedaffect.edge.personal import PersonalPart
            from fedaffect.edge.store import default_path

            part = PersonalPart(journal.path if journal is not None else default_path())
        learner = None
        if followed and adapt_learns:
            from fedaffect.edge.adaptation.learning.learner import open_learner

            learner = open_learner(followed, journal.path if journal is not None else None)
        adapter = partial(Adapter, followed, language, learner) if followed else None
        return cls(opened, cascade, transcriber, threads, recorder, part, adapter, learner)

    @property
    def bundle(self) -> Bundle:
        """The one that answers now."""
        return self._current().bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """What is predicted, in the order of the fusion's scores."""
        return self._current().labels

    def predict(
        self, sample: Sample | str, deadline_ms: float | None = None, *, request_id: str | None = None
    ) -> Prediction:
        """The emotion of one sample.

        Parameters
        ----------
        sample : Sample or str
            Any subset of the modalities, or only words; see `fedaffect.edge.sample_of` for a film with its sound.
        deadline_ms : float, optional
            When the app wants its answer; the cloud is not waited for beyond it.
        request_id : str, optional
            Under which feedback names it; drawn if not given. An example kept under it before stays as it was.

        Returns
        -------
        Prediction
            From what could be used; its notes say what could not, and why. Where nothing could be used on the device,
            a cloud that may have the media is asked instead.

        Raises
        ------
        DataError
            If nothing of the sample can be used.
        ConfigError
            If the runtime is closed.
        TypeError
            If it is asked about something else: a path or bytes do not say which modality they hold.
        """
        started_s = perf_counter()
        sample = as_sample(sample)
        opened, adjust = self._for_this_person(self._current())
        question = Question(request_id or uuid4().hex, with_paths(sample), transcribe=self._transcriber is not None)
        until_s = started_s + (float("inf") if deadline_ms is None else deadline_ms / 1000)
        try:
            made = judge(sample, opened, self._transcriber, until_s)
        except DataError as error:
            return self._recorded(self._cascade.instead(error, question, started_s, deadline_ms), question)
        probabilities, notes = adjust(made.probabilities, made.tokens, made.intake.doubtful)
        notes = (*made.notes, *notes)
        local = local_prediction(opened, probabilities, made.ratings, made.tokens, notes, question.request_id)
        spent_ms = (perf_counter() - started_s) * 1000 - (made.transcription_ms or 0.0)
        local = replace(local, latency_ms=spent_ms, transcript=made.transcript, transcription_ms=made.transcription_ms)
        usable = with_paths(made.sample)
        sent = None
        if self._cascade.privacy == "raw":
            sent = sendable(made.intake.sample if made.windows else usable, made.intake.used)
        cut = partial(samples_of, usable, opened.encoders, made.windows) if made.windows else None
        question = replace(
            question, sample=usable, sent=sent, windows=made.windows, cut=cut, **encoded(opened, made.tokens)
        )
        calibration = opened.bundle.manifest.calibration
        return self._recorded(self._cascade.decide(local, question, started_s, deadline_ms, calibration), question)

    async def apredict(self, sample: Sample | str, deadline_ms: float | None = None) -> Prediction:
        """:meth:`predict` for asyncio: the event loop goes on meanwhile. Waiting for a free thread counts as time."""
        asked_s = perf_counter()

        def call() -> Prediction:
            waited_ms = (perf_counter() - asked_s) * 1000
            left_ms = None if deadline_ms is None else max(0.0, deadline_ms - waited_ms)
            return self.predict(sample, left_ms)

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def stream(
        self,
        frames: Pictures | None = None,
        audio: Sounds | None = None,
        text: Words | None = None,
        window_s: float = 3.0,
        hop_s: float = 0.5,
        smoothing_s: float = 1.0,
    ) -> Iterator[Prediction]:
        """A prediction every hop, from the window that ends there.

        The first comes when one window is full, or with the last of a stream that is shorter. Where a window has
        nothing to go by, there is none. The cloud, where it is asked at all, has one hop's time.

        Parameters
        ----------
        frames : path, bytes, Frames or iterable of TimedPicture, optional
            A film, pictures in memory, or a camera.
        audio : path, bytes, Waveform or iterable of Waveform, optional
            A sound, or a microphone: pieces that follow each other.
        text : str or iterable of TimedWords, optional
            Words that hold for the whole stream, or each with its time.
        window_s, hop_s : float
            Length of a window, and from one to the next.
        smoothing_s : float
            Time constant of the steadying; 0 for none.

        Yields
        ------
        Prediction
            Its latency is what the device spent on what was new in the window.

        Raises
        ------
        DataError
            If a source is damaged, or the whole stream had nothing to go by.
        """
        if frames is None and audio is None and text is None:
            raise DataError("the stream is empty; give frames, audio or text")
        return self._stream(frames, audio, text, WindowConfig(window_s, hop_s, smoothing_s))

    async def astream(
        self,
        frames: Pictures | None = None,
        audio: Sounds | None = None,
        text: Words | None = None,
        window_s: float = 3.0,
        hop_s: float = 0.5,
        smoothing_s: float = 1.0,
    ) -> AsyncIterator[Prediction]:
        """:meth:`stream` for asyncio: the event loop goes on while the device waits and works."""
        windows = self.stream(frames, audio, text, window_s, hop_s, smoothing_s)
        advance = partial(next, windows, None)
        while (prediction := await asyncio.get_running_loop().run_in_executor(self._pool, advance)) is not None:
            yield prediction

    def features(self, sample: Sample | str) -> dict[str, NDArray[np.float32]]:
        """What the encoders make of a sample: tokens of shape (T, W) by modality; of long media, of their beginning.

        Raises
        ------
        DataError
            If nothing of the sample can be used.
        """
        opened = self._current()
        return encode(opened, take_in(as_sample(sample), opened.encoders))[0]

    def attention(self, sample: Sample | str) -> Attention:
        """Which parts of a sample attend to which in the device's fusion; of long media, of their beginning.

        Parameters
        ----------
        sample : Sample or str
            As for :meth:`predict`; encoded again.

        Raises
        ------
        BundleError
            If the bundle's fusion does not tell it: models other than ``cmt`` and ``cmt-paper``.
        DataError
            If nothing of the sample can be used.
        """
        opened, _ = self._for_this_person(self._current())
        return opened.attention(encode(opened, take_in(as_sample(sample), opened.encoders))[0])

    def conversation(self) -> Conversation:
        """A conversation that begins now: each turn is judged with what was said and shown before, and by whom.

        It stays with the bundle that answers now, and with what this person's labels change of its features.

        Raises
        ------
        BundleError
            If the bundle's fusion judges each utterance alone: models other than a causal ``avafn`` with dialogue.
        ConfigError
            If the runtime is closed.
        """
        opened, _ = self._for_this_person(self._current())
        return Conversation(opened, self._transcriber, self._adapter)

    def feedback(self, request_id: str, label: str, *, consent: bool = False) -> Receipt:
        """What the user says it really was.

        Labels the example, where one is kept. Unless ``privacy`` is ``never``, the cloud is told too, now or when it is
        within reach: the label, and where the user consents and the journal uploads examples, the example's features.

        Parameters
        ----------
        request_id : str
            Of the prediction.
        label : str
            In the vocabulary's words.
        consent : bool
            Whether the user lets the example be learned from.

        Raises
        ------
        ConfigError
            If the label is outside the vocabulary, or the runtime has no journal.
        DataError
            If no such example is kept and nothing may leave the device.
        StoreError
            If it cannot be written.
        """
        receipt, labels = self._remembering().feedback(request_id, label, consent), self.bundle.label_set
        if labels.index(label) is not None:
            return receipt
        return replace(receipt, notes=(*receipt.notes, labels.without_place_for(label)))

    async def afeedback(self, request_id: str, label: str, *, consent: bool = False) -> Receipt:
        """:meth:`feedback` for asyncio."""
        call = partial(self.feedback, request_id, label, consent=consent)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def reward(self, decision: str, kind: str, value: float) -> None:
        """Say what came of an adaptation, so that what helps this person is learned.

        Parameters
        ----------
        decision : str
            Of `Adaptation.decision`.
        kind : {"helped", "completed", "dwell"}
            The person says so, the task was completed, or how long they stayed as a share of what was hoped for.
        value : float
            0 to 1.

        Raises
        ------
        ConfigError
            If the kind is unknown, or nothing is learned by this runtime.
        DataError
            If there is no such decision, or the value is not from 0 to 1.
        StoreError
            If it cannot be written.
        """
        if self._learner is None:
            raise ConfigError("this runtime does not learn what helps; load it with adapt_learns=True")
        self._learner.reward(decision, kind, value)

    def late_answers(self) -> dict[str, Prediction]:
        """Answers to questions that waited for the cloud, by request id, each given once.

        Raises
        ------
        ConfigError
            If the runtime has no journal.
        StoreError
            If it cannot be read.
        """
        return self._remembering().journal.queue.take_answers()

    def deliver_now(self) -> None:
        """Try to deliver what waits, without waiting for a back-off: for when the system says that it is online.

        Raises
        ------
        ConfigError
            If the runtime has no journal.
        """
        self._remembering().deliver_now()

    def swap(self, bundle: Path | Bundle) -> str:
        """Answer with another bundle from now on; predictions under way end with the one that they began with.

        Where the app gave no policy of its own, the new bundle's thresholds say from now on when the cloud is asked.

        Parameters
        ----------
        bundle : Path or Bundle
            Opened and checked before anything changes.

        Returns
        -------
        str
            Version of the bundle that answered until now.

        Raises
        ------
        BundleError
            If it is refused; the one before stays.
        """
        opened = OpenBundle(bundle, self._threads)
        with self._lock:
            before = self._current()
            self._opened = opened
        return before.version

    def close(self) -> None:
        """Let go of the networks and the way to the cloud; predictions under way still end."""
        with self._lock:
            if self._opened is None:
                return
            self._opened = None
        self._pool.shutdown(wait=False)
        if self._recorder is not None:
            self._recorder.stop()
        # A delivery that is under way ends with the way to the cloud, and is noted before the journal closes.
        self._cascade.close()
        if self._recorder is not None:
            self._recorder.close()
        if self._learner is not None:
            self._learner.close()
        if self._personal is not None:
            self._personal.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _current(self) -> OpenBundle:
        opened = self._opened
        if opened is None:
            raise ConfigError("this runtime is closed; load it again with EdgeRuntime.load")
        return opened

    def _for_this_person(self, opened: OpenBundle) -> tuple[OpenBundle, Adjust]:
        """The bundle, and what comes after it, as this person is answered."""
        if self._personal is None:
            return opened, _as_it_is
        made = self._personal.current(opened.bundle)
        return opened.centred(made.offsets), made

    def _recorded(self, decided: Decided, question: Question) -> Prediction:
        made = decided.prediction if self._recorder is None else self._recorder.record(decided, question)
        return made if self._adapter is None else replace(made, adaptation=self._adapter()(made))

    def _remembering(self) -> Recorder:
        self._current()
        if self._recorder is None:
            raise ConfigError(
                "this runtime remembers nothing; load it with journal=Journal(...) of fedaffect.edge.store"
            )
        return self._recorder

    def _stream(
        self, frames: Pictures | None, audio: Sounds | None, text: Words | None, config: WindowConfig
    ) -> Iterator[Prediction]:
        keep_media = self._cascade.cloud is not None and self._cascade.privacy == "raw"
        recorder: StreamRecorder | None = None
        if self._recorder is not None:
            keep_media = keep_media or self._recorder.keeps_stream_media
            recorder = self._recorder.stream()
        windows = Windows(frames, audio, text, config, self._current(), keep_media)
        smoother = Smoother(config.smoothing_s)
        adapter = None if self._adapter is None else self._adapter()
        session = uuid4().hex
        answered, notes = False, ()  # type: bool, tuple[str, ...]
        while True:
            opened = self._current()
            if (window := windows.advance(opened)) is None:
                break
            notes = window.notes or notes
            if window.tokens:
                answered = True
                prediction, question = self._decide(opened, window, smoother, config)
                if recorder is not None:
                    prediction = recorder.record(prediction, question, window.end_s)
                if adapter is not None:
                    prediction = replace(prediction, adaptation=adapter(prediction, window.end_s))
                yield replace(prediction, session=session, window_s=(max(window.start_s, 0.0), window.end_s))
        if not answered:
            raise DataError(f"the stream had nothing to go by: {'. '.join(notes) or 'its sources are empty'}")

    def _decide(
        self, opened: OpenBundle, window: Window, smoother: Smoother, config: WindowConfig
    ) -> tuple[Prediction, Question]:
        started_s = perf_counter() - window.spent_ms / 1000
        opened, adjust = self._for_this_person(opened)
        question = Question(uuid4().hex, window.sample, **encoded(opened, window.tokens))
        shared, ratings = opened.answer(window.tokens)
        probabilities, personal = adjust(doubted(shared, window.doubtful), window.tokens, window.doubtful)
        notes = (*window.notes, *personal)
        local = local_prediction(opened, probabilities, ratings, window.tokens, notes, question.request_id)
        local = replace(local, latency_ms=(perf_counter() - started_s) * 1000)
        calibration = opened.bundle.manifest.calibration
        decided = self._cascade.decide(local, question, started_s, config.hop_s * 1000, calibration).prediction
        labels = tuple(decided.probabilities)
        steady = smoother(labels, np.array(list(decided.probabilities.values())), window.end_s)
        return replace(decided, **shares_of(labels, steady)), question


def _as_it_is(
    probabilities: NDArray[np.float64], _: Collection[str], __: bool
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    return probabilities, ()
