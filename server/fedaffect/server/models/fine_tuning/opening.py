"""Opens what is trained: a folder of transformers, a hub id, or the weights that packages carry; and saves it again.

What is saved is what ``save_pretrained`` leaves, with the tokenizer or the preprocessor that it came with, so that
transformers, ``fedaffect server align`` and ``fedaffect bundle build`` take it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer, WhisperModel
from transformers.utils import logging as transformers_logging

from fedaffect.edge.bundle.manifest import hash_of
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.face import FaceDetector
from fedaffect.server.models.bundling import expression, speech, text, vision
from fedaffect.server.models.bundling.centerface import free_centerface
from fedaffect.server.models.bundling.hub import load
from fedaffect.server.models.bundling.packages import CENTERFACE, MINILM, SILERO
from fedaffect.server.models.bundling.whisper import encoder_from_ctranslate2
from fedaffect.server.models.faces.network import BothViews
from fedaffect.server.models.faces.weights import SAVED, own_faces
from fedaffect.server.models.fine_tuning.encoders import (
    MediaEncoder,
    PictureEncoder,
    SpectrumEncoder,
    WaveformEncoder,
    WordEncoder,
)
from fedaffect.server.models.fine_tuning.inputs import Inputs, PictureInputs, SoundInputs, WordInputs
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.server.models.full_model.loading import WHISPER_BASE, WHISPER_FILES, waveform_settings, whisper_settings
from fedaffect.server.models.full_model.profiles import EMBEDDED
from fedaffect.server.models.full_model.speech import PaddedWaveform, PaddedWhisper
from fedaffect.server.models.full_model.text import MAX_TOKENS
from fedaffect.server.models.full_model.vision import FirstToken
from fedaffect.server.models.reading import Reading
from fedaffect.server.models.transformers_compat import set_attention

FLAGS: Final = {"text": "--text", "audio": "--speech", "video": "--vision"}
_KINDS: Final = {"text": text.KINDS, "audio": speech.KINDS, "video": vision.KINDS}
# What no feature depends on: it would get no gradient and still decay.
_UNUSED: Final = ("pooler.", "masked_spec_embed", "positions.")

Save = Callable[[Path], None]


def open_inputs(modality: str, source: str, limits: Limits, faces: str) -> Inputs:
    """How raw media of a modality become a network's input; the network itself is not read.

    Parameters
    ----------
    modality : str
    source : str
        A folder, a hub id with its commit, or ``package``.
    limits : Limits
    faces : {"detect", "whole", "none"}
        Of the corpus: whether the face has to be found.

    Raises
    ------
    BundleError
        If the source cannot be had or is of another kind.
    """
    if modality == "text":
        return _word_inputs(_words_at(source))
    if modality == "audio":
        return SoundInputs(_sound_settings(source, limits.max_seconds), SILERO.file(speech.VOICE_FILE))
    ours = own_faces(source) is not None
    settings = expression.SETTINGS if ours else vision.vit_settings(source, _config(modality, source))
    if faces == "whole":
        return PictureInputs(settings, None, limits.max_frames, "")
    with TemporaryDirectory(prefix="fedaffect-") as folder:
        path = Path(folder) / "centerface.onnx"
        free_centerface(CENTERFACE.file("centerface.onnx"), path)
        detector = FaceDetector(path, settings.face_side, settings.face_threshold)
        return PictureInputs(settings, detector, limits.max_frames, hash_of(path))


def open_network(modality: str, source: str) -> tuple[MediaEncoder, Save]:
    """A network that can be trained, and what writes it to a folder.

    Parameters
    ----------
    modality, source
        As of `open_inputs`.

    Raises
    ------
    BundleError
        If the source cannot be had or is of another kind.
    """
    encoder, save = {"text": _words, "audio": _voices, "video": _faces}[modality](source)
    encoder.requires_grad_(True)
    for name, parameter in encoder.named_parameters():
        if any(unused in name for unused in _UNUSED):
            parameter.requires_grad_(False)
    return encoder, save


def _words_at(source: str) -> str:
    return str(MINILM.file("model")) if source == EMBEDDED else source


def _word_inputs(source: str) -> WordInputs:
    longest = int(getattr(_config("text", source), "max_position_embeddings", 512)) - 2
    tokenizer = Tokenizer.from_str(text.tokenizer_of(source).to_str())
    return WordInputs(tokenizer, min(MAX_TOKENS, longest))


def _words(source: str) -> tuple[MediaEncoder, Save]:
    where = _words_at(source)
    model = _model("text", where)
    return WordEncoder(model), _saving(model, where, AutoTokenizer)


def _sound_settings(source: str, max_seconds: float) -> SpeechSettings:
    heard = Reading(max_seconds=max_seconds)
    if source == EMBEDDED:
        return heard.of_sound(whisper_settings(80, 1500))
    config = _config("audio", source)
    if config.model_type == "whisper":
        return heard.of_sound(whisper_settings(int(config.num_mel_bins), int(config.max_source_positions)))
    return heard.of_sound(waveform_settings(config, speech.standardises(source)))


def _voices(source: str) -> tuple[MediaEncoder, Save]:
    settings = _sound_settings(source, 1.0)
    rates = settings.frames_per_second, settings.tokens_per_second
    if source == EMBEDDED:
        parts = [package.file(name) for package, name in zip(WHISPER_BASE, WHISPER_FILES, strict=True)]
        whole = _whole_whisper(encoder_from_ctranslate2(*parts))
        encoder = whole.get_encoder()
        return SpectrumEncoder(PaddedWhisper(encoder, (len(encoder.layers),)), *rates), _saving(whole, source, None)
    model = _model("audio", source)
    if model.config.model_type == "whisper":
        encoder = model.get_encoder()
        spectra = SpectrumEncoder(PaddedWhisper(encoder, (len(encoder.layers),)), *rates)
        return spectra, _saving(model, source, AutoFeatureExtractor)
    # Layers that are left out, and features that are masked, at random: drawn by NumPy's own generator, and another
    # number of them in every process.
    model.config.layerdrop, model.config.apply_spec_augment = 0.0, False
    extractor = model.feature_extractor
    network = PaddedWaveform(model, (int(model.config.num_hidden_layers),))

    def save(folder: Path) -> None:
        model.feature_extractor = extractor
        try:
            _saving(model, source, AutoFeatureExtractor)(folder)
        finally:
            model.feature_extractor = nn.Identity()

    return WaveformEncoder(network, *rates), save


def _whole_whisper(encoder: Any) -> WhisperModel:
    """A Whisper as transformers loads one, with the least decoder there can be: packages carry only the encoder."""
    config = encoder.config
    config.update(
        {"vocab_size": 8, "decoder_layers": 1, "decoder_ffn_dim": 8, "max_target_positions": 8, "pad_token_id": 0}
        | {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        | {"decoder_attention_heads": config.encoder_attention_heads}
    )
    whole = WhisperModel(config)
    whole.encoder = encoder
    set_attention(config, "sdpa")
    return whole


def _faces(source: str) -> tuple[MediaEncoder, Save]:
    if (network := own_faces(source)) is not None:
        state_dict = network.state_dict

        def save(folder: Path) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.cpu().contiguous() for name, value in state_dict().items()}, folder / SAVED)

        return PictureEncoder(BothViews(network), expression.SETTINGS), save
    model = _model("video", source)
    settings: VisionSettings = vision.vit_settings(source, model.config)
    return PictureEncoder(FirstToken(model), settings), _saving(model, source, AutoImageProcessor)


def _config(modality: str, source: str) -> Any:
    config = load(source, AutoConfig)
    _require_kind(modality, source, config)
    return config


def _model(modality: str, source: str) -> Any:
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = load(source, AutoModel)
    _require_kind(modality, source, model.config)
    return model.float()


def _require_kind(modality: str, source: str, config: Any) -> None:
    kinds = _KINDS[modality]
    if config.model_type not in kinds:
        raise BundleError(
            f"{source} is a {config.model_type} model; {FLAGS[modality]} takes one of: {', '.join(kinds)}"
        )


def _saving(model: Any, source: str, beside: Any) -> Save:
    """What saves a model, and the tokenizer or preprocessor of its source, where that has one."""

    def save(folder: Path) -> None:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model.save_pretrained(folder)
        if beside is None:
            return
        try:
            load(source, beside).save_pretrained(folder)
        except BundleError:
            # A folder of a network alone: what reads it takes the usual means and deviations then, too.
            return

    return save
