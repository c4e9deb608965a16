"""Tiny Whisper checkpoints and spoken clips, made and run by the reference library, for the tests.

    python -m tools.make_speech_fixtures tests/fixtures/speech

Needs the extra `fixtures` and espeak-ng; a developer runs it and commits what it writes. Windows
are of three seconds. Each checkpoint's `expected.safetensors` has what the library's `generate`
wrote of every clip, and the scores after each token of the first; `mels.safetensors` has every
third frame that its feature extractor made of the clips in windows of thirty seconds.
"""

import copy
import wave
from pathlib import Path
from typing import Any

import click
import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers, trainers
from tqdm import tqdm

from tools.espeak import RATE, speak
from tools.make_parity_fixtures import randomize

SECONDS = 3
# Words a minute, so that clips are small.
_SPEED = 260
# Name → voice and words.
CLIPS = {
    "en-1": ("en-us", "the quick brown fox"),
    "en-2": ("en-gb", "seven ships at sea"),
    "en-3": ("en-us", "open the window"),
    "en-4": ("en-us", "what time is it"),
    "de-1": ("de", "der Himmel ist blau"),
    "de-2": ("de", "guten Morgen"),
    "de-3": ("de", "wo ist der Bahnhof"),
    "fr-1": ("fr-fr", "bonjour tout le monde"),
    "fr-2": ("fr-fr", "il fait beau"),
    "fr-3": ("fr-fr", "une tasse de café"),
}
LANGUAGES = ("en", "de", "fr", "es", "zh")
SHAPE: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_layers": 3,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "max_source_positions": SECONDS * 50,
    "max_target_positions": 48,
}
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "tiny-128": {"num_mel_bins": 128},
    "tiny.en": {},
}


def write_clip(path: Path, samples: np.ndarray) -> None:
    """A wav file of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32768).astype("<i2").tobytes())


def frames_of(extractor: Any, samples: np.ndarray) -> np.ndarray:
    """[mels, frames] of a window, as the library computes them without PyTorch: in float64.

    With it they are computed in float32, which is up to 3e-5 from that.
    """
    window = np.pad(samples, (0, extractor.n_samples - len(samples)))
    return extractor._np_extract_fbank_features(window[None], "cpu")[0]  # noqa: SLF001


def make_tokenizer() -> tokenizers.Tokenizer:
    """A byte-level one with Whisper's special tokens after its vocabulary."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([words for _, words in CLIPS.values()], trainer)
    names = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe"]
    names += ["startoflm", "startofprev", "nospeech", "notimestamps"]
    made.add_special_tokens([f"<|{name}|>" for name in names])
    made.add_tokens([f"<|{0.02 * index:.2f}|>" for index in range(8)])
    return made


def generation(tokenizer: tokenizers.Tokenizer, *, multilingual: bool) -> dict[str, Any]:
    """A `generation_config.json`."""

    def token(name: str) -> int:
        return tokenizer.token_to_id(f"<|{name}|>")

    end = token("endoftext")
    config = {
        "decoder_start_token_id": token("startoftranscript"),
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "no_timestamps_token_id": token("notimestamps"),
        "max_length": SHAPE["max_target_positions"],
        "is_multilingual": multilingual,
        "return_timestamps": False,
        # What the checkpoints would begin with, among others.
        "begin_suppress_tokens": [tokenizer.encode(" ").ids[0], end, 45, 214, 241],
        # 36 is what `tiny` would write all along.
        "suppress_tokens": [1, 2, 7, 8, 36, *range(end + 1, token("notimestamps"))],
    }
    if multilingual:
        config["lang_to_id"] = {f"<|{name}|>": token(name) for name in LANGUAGES}
        config["task_to_id"] = {name: token(name) for name in ("translate", "transcribe")}
    return config


def sharpen(model: Any) -> None:
    """Random weights whose texts depend on what is heard, and end now and then.

    Factors are powers of two, or rounded after them: weights have the digits of bfloat16.
    """
    for name, value in model.named_parameters():
        if name.endswith(("encoder_attn.out_proj.weight", "fc2.weight")):
            value.data *= 4
        elif name.endswith(("q_proj.weight", "k_proj.weight", "decoder.embed_positions.weight")):
            value.data *= 2
    ends = model.model.decoder.embed_tokens.weight.data[model.config.eos_token_id]
    ends.copy_((ends * 1.5).to(torch.bfloat16))


def record(name: str, model: Any, extractor: Any, clips: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the library writes of the clips."""
    several = model.generation_config.is_multilingual
    found: dict[str, np.ndarray] = {}
    for number, (clip, samples) in enumerate(clips.items()):
        frames = torch.from_numpy(frames_of(extractor, samples)[None])

        def generate(language: str | None = None, frames: torch.Tensor = frames) -> torch.Tensor:
            asked = {"task": "transcribe", "language": language} if several else {}
            with torch.no_grad():
                return model.generate(
                    frames,
                    **asked,
                    num_beams=1,
                    do_sample=False,
                    max_new_tokens=model.config.max_target_positions // 2,
                    return_dict_in_generate=True,
                    output_logits=True,
                )

        whole = generate()
        tokens = torch.as_tensor(whole["sequences"][0])
        found[f"{clip}.tokens"] = tokens.numpy().astype(np.int32)
        with torch.no_grad():
            scores = model(frames, decoder_input_ids=tokens[None]).logits[0].float()
        if number == 0:
            found[f"{clip}.logits"] = scores.clone().numpy()
        if several:
            french = torch.as_tensor(generate("fr")["sequences"][0])
            found[f"{clip}.as_french"] = french.numpy().astype(np.int32)
        banned = [*model.generation_config.suppress_tokens]
        scores[:, banned] = -torch.inf
        best = torch.topk(scores, 2).values
        margin = float((best[:, 0] - best[:, 1]).min())
        tqdm.write(f"{name} {clip}: {tokens.tolist()}, smallest margin {margin:.1e}")
    return found


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def main(directory: Path) -> None:
    """Write the clips and the checkpoints into DIRECTORY."""
    clips = {name: speak(words, voice, _SPEED) for name, (voice, words) in CLIPS.items()}
    (directory / "clips").mkdir(parents=True, exist_ok=True)
    for name, samples in clips.items():
        write_clip(directory / "clips" / f"{name}.wav", samples)
    mels: dict[str, np.ndarray] = {}
    for size in (80, 128):
        extractor = transformers.WhisperFeatureExtractor(feature_size=size)
        for name in list(clips)[:: 1 if size == 80 else 4]:
            frames = frames_of(extractor, clips[name])
            mels[f"{name}.{size}"] = frames[:, : len(clips[name]) // 160 + 9 : 3].T.copy()
    save_file(mels, directory / "mels.safetensors")
    tokenizer = make_tokenizer()
    for name, changes in CHECKPOINTS.items():
        made = generation(tokenizer, multilingual=name != "tiny.en")
        ids = {key: made[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        start = made["decoder_start_token_id"]
        config = transformers.WhisperConfig(
            **SHAPE | changes | ids,
            vocab_size=tokenizer.get_vocab_size(),
            decoder_start_token_id=start,
            begin_suppress_tokens=made["begin_suppress_tokens"],
        )
        torch.manual_seed(sum(name.encode()))
        library: Any = transformers.AutoModelForSpeechSeq2Seq
        model = library.from_config(config, attn_implementation="eager").float().eval()
        randomize(model)
        sharpen(model)
        model.generation_config = transformers.GenerationConfig(**made)
        target = directory / name
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(target)
        tokenizer.save(str(target / "tokenizer.json"))
        extractor = transformers.WhisperFeatureExtractor(
            feature_size=config.num_mel_bins, chunk_length=SECONDS
        )
        extractor.save_pretrained(target)
        save_file(record(name, model, extractor, clips), target / "expected.safetensors")


if __name__ == "__main__":
    main()
