"""PyAV, of the extra `audio`: FFmpeg's libraries. The one module that imports it."""

try:
    import av as av
    from av.audio.frame import AudioFrame as AudioFrame
    from av.audio.resampler import AudioResampler as AudioResampler
    from av.audio.stream import AudioStream as AudioStream
    from av.container import InputContainer as InputContainer
    from av.error import FFmpegError as FFmpegError
    from av.error import InvalidDataError as InvalidDataError
except ImportError as error:
    raise ImportError(
        "sound needs the extra audio: in the checkout run pip install '.[audio]'"
    ) from error
