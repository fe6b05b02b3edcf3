"""The engine in one process: media prepared on a few threads, batches computed on others, tied by one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import monotonic, perf_counter
from typing import Final

import torch

from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import MODALITIES, Sample, Waveform
from fedaffect.edge.system import tracing
from fedaffect.server.errors import DeadlinePassed, InvalidRequest, NotFound, NothingToGoBy
from fedaffect.server.models.full_model.model import RANDOM_WEIGHTS, FullModel
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request, require_attention
from fedaffect.server.serving.engines.features import check_features
from fedaffect.server.serving.engines.following import Follower
from fedaffect.server.serving.engines.inference import Inference, Outcome, Question
from fedaffect.server.serving.engines.intake import Intake, take_in
from fedaffect.server.serving.engines.local_following import LocalFollower
from fedaffect.server.serving.scheduling.batcher import Batcher, BatcherConfig

_PREPARERS: Final = 2

Transcriber = Callable[[Waveform], str]


class LocalEngine:
    """Answers from one model in this process; an `Engine`.

    Parameters
    ----------
    model : FullModel
    config : BatcherConfig, optional
        Without ``workers``, one on a GPU and one a core on a processor, each on one thread of its own: two requests
        on two cores finish sooner than one after the other on both, since a network's small steps do not share well.
    transcriber : callable, optional
        Finds the words in a sound, for requests that ask for it; see `fedaffect.edge.transcription.Whisper`.
    on_batch : callable, optional
        Told how many requests each batch holds.
    decoders : Decoders, optional
        Those of the whole server; some of its own where there are none.
    """

    def __init__(
        self,
        model: FullModel,
        config: BatcherConfig | None = None,
        transcriber: Transcriber | None = None,
        on_batch: Callable[[int], None] | None = None,
        decoders: Decoders | None = None,
    ) -> None:
        config = config or BatcherConfig()
        cores = len(os.sched_getaffinity(0))
        workers = config.workers or (1 if model.compute.is_gpu else cores)
        self.model = model
        self.batcher: Batcher[Question, Outcome] = Batcher(
            Inference(model),
            replace(config, workers=workers),
            initialise=partial(torch.set_num_threads, max(1, cores // workers)),
            on_batch=on_batch,
        )
        self._transcriber = transcriber
        self._preparers = ThreadPoolExecutor(_PREPARERS, "prepare")
        # Never waits for anything but decoders, so that those who prepare may wait for it.
        self._openers = ThreadPoolExecutor(_PREPARERS, "open")
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders()
        self._closed = False

    async def predict(self, request: Request) -> Answer:
        """Answer one request.

        Raises
        ------
        NotFound
            If another version is asked for.
        InvalidRequest
            If nothing in it can be used, with the reason for each modality, or the model does not tell its attention.
        Overloaded, DeadlinePassed, Unavailable
            As the batcher says.
        """
        if request.model_version not in ("", self.model.card.version):
            raise NotFound(
                f"model version {request.model_version!r} is not served here; served: {self.model.card.version}"
            )
        require_attention(request, self.model)
        if request.features:
            intake = Intake()
            features = check_features(request.features, request.encoder_keys, self.model)
            question = Question(features=features, attention=request.attention)
        else:
            with tracing.span("prepare"):
                intake = await self._take_in(request)
            question = Question(prepared=intake.prepared, attention=request.attention)
        served = await self.batcher.submit(
            question,
            cost=self._cost(question),
            client=request.client,
            deadline_s=request.deadline_s,
            # Media were decoded in a place that was held for them, and nothing was awaited since.
            admitted=not request.features,
        )
        return self._answer(intake, served.value, served.queue_ms, served.compute_ms)

    def follow(self, client: str, window_s: float) -> Follower:
        """Follow a stream, encoding everything once.

        Raises
        ------
        InvalidRequest
            If the model takes features only.
        """
        self._require_encoders()
        return LocalFollower(self.model, self.batcher, self._preparers, client, window_s)

    def check_room(self, client: str) -> None:
        """As the batcher says."""
        self.batcher.check_room(client)

    def models(self) -> tuple[ModelInfo, ...]:
        """The one version."""
        return (ModelInfo.of(self.model),)

    def ready(self) -> bool:
        """Whether requests are taken."""
        return not self._closed

    async def close(self, drain_s: float) -> None:
        """Take nothing new, finish what is waiting for at most ``drain_s`` seconds, stop."""
        self._closed = True
        await self.batcher.close(drain_s)
        self._preparers.shutdown(wait=False, cancel_futures=True)
        self._openers.shutdown(wait=False, cancel_futures=True)
        if self._own_decoders:
            self._decoders.close()

    async def _take_in(self, request: Request) -> Intake:
        if request.sample is None or not request.sample.modalities:
            raise InvalidRequest(f"the request is empty; send at least one of {', '.join(self.model.modalities)}")
        self._require_encoders()
        if request.deadline_s <= monotonic():
            raise DeadlinePassed("the deadline had passed when the request came; allow more time")
        words = request.transcribe and request.sample.text is None and request.sample.audio is not None
        transcriber = self._transcriber if words else None
        # Decoding takes a processor's time too: whoever will be turned away is, before it.
        with self.batcher.coming(request.client):
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._preparers, self._decode, request.sample, transcriber, words, request.deadline_s
                )
            except DataError as error:
                raise NothingToGoBy(str(error)) from error

    def _require_encoders(self) -> None:
        if not self.model.encoders:
            raise InvalidRequest(
                f"model {self.model.card.version} answers on features of edge encoders; send features, or ask a "
                f"version that takes media"
            )

    def _decode(self, sample: Sample, transcriber: Transcriber | None, words: bool, deadline_s: float) -> Intake:
        if deadline_s <= monotonic():
            raise DeadlinePassed("the deadline passed before the media were decoded; allow more time or send less")
        intake = take_in(sample, self.model.encoders, self._decoders, deadline_s, each=self._openers.map)
        if not words:
            return intake
        if transcriber is None:
            return replace(intake, notes=(*intake.notes, "words were not looked for: this server does not transcribe"))
        if intake.sound is None:
            return intake
        started_s = perf_counter()
        heard = transcriber(intake.sound).strip()
        transcription_ms = (perf_counter() - started_s) * 1000
        intake = replace(intake, transcript=heard, transcription_ms=transcription_ms)
        if not heard or "text" not in self.model.encoders:
            return intake
        taken = self.model.encoders["text"].take(heard)
        notes = (*intake.notes, *taken.notes, "the words were found in the sound")
        prepared = {**intake.prepared, "text": taken.prepared}
        return replace(intake, prepared=prepared, notes=notes, doubtful=intake.doubtful and bool(taken.doubt))

    def _cost(self, question: Question) -> dict[str, int]:
        lengths = {m: self.model.encoders[m].cost(prepared) for m, prepared in question.prepared.items()}
        return lengths or {"features": sum(len(tokens) for tokens in question.features.values())}

    def _answer(self, intake: Intake, outcome: Outcome, queue_ms: float, compute_ms: float) -> Answer:
        shares = doubted(outcome.probabilities, intake.doubtful)
        probabilities: Mapping[str, float] = {
            label: float(value) for label, value in zip(self.model.labels, shares, strict=True)
        }
        label = max(probabilities, key=lambda name: probabilities[name])
        notes = (*intake.notes, *outcome.notes, *((RANDOM_WEIGHTS,) if self.model.card.random_init else ()))
        return Answer(
            label=label,
            probabilities=probabilities,
            confidence=probabilities[label],
            modalities=tuple(modality for modality in MODALITIES if modality in outcome.modalities),
            model_version=self.model.card.version,
            notes=notes,
            transcript=intake.transcript,
            transcription_ms=intake.transcription_ms,
            queue_ms=queue_ms,
            compute_ms=compute_ms,
            attention=outcome.attention,
        )
