"""ONNX Runtime, of the extra `piper`. The one module that imports it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serve.voice.types import VoiceError

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(
        "Piper's voices need the extra piper: in the checkout run pip install '.[piper]'"
    ) from error

# How soon a run ends that nobody waits for any more.
_LOOK_SECONDS = 0.02


class OnnxModel:
    """A model on the CPU.

    Args:
        path: of its file.
        threads: that compute side by side.

    Attributes:
        inputs: their names.

    Raises:
        VoiceError: the file is no model.
    """

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that wait for work by trying take a core from the engine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        # The library has an exception of its own for each fault, with no base beside Exception.
        except Exception as error:
            raise VoiceError(f"{path} cannot be loaded: {error}") from error
        self.inputs = frozenset(each.name for each in self._session.get_inputs())
        self._thread = ThreadPoolExecutor(1)

    def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], stopped: Callable[[], bool]
    ) -> npt.NDArray[np.float32]:
        """The first output, or an empty one if it was stopped.

        Raises:
            VoiceError: the model fails.
        """
        options = onnxruntime.RunOptions()
        job = self._thread.submit(self._session.run, None, dict(inputs), options)
        ended = False
        while not wait([job], _LOOK_SECONDS).done:
            if not ended and stopped():
                ended = options.terminate = True
        if ended:
            return np.zeros(0, np.float32)
        try:
            return np.asarray(job.result()[0], np.float32)
        except Exception as error:
            raise VoiceError(f"a voice's model fails: {error}") from error
