"""Why a file of a checkpoint cannot be read, in a sentence with what to do.

Asked once reading has failed, so that whoever reads a file need not look at it twice.
"""

from pathlib import Path

# The first line of a pointer (Git LFS, docs/spec.md), which has fewer than 1024 bytes.
_POINTER = b"version https://git-lfs.github.com/spec/v1"


def git_pointer(path: Path) -> str | None:
    """A sentence if `path` is what Git LFS leaves in the place of a large file, else None."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_POINTER))
    except OSError:
        return None
    if head != _POINTER:
        return None
    return (
        f"{path} is a pointer that Git LFS left in the place of the file; run git lfs pull in its "
        "directory, or download the file itself"
    )


def not_read(path: Path, error: OSError) -> str:
    """A sentence on the error that the system gave when `path` was to be read."""
    if isinstance(error, PermissionError):
        return (
            f"{path} cannot be read ({error.strerror}); give the user that runs Parlance the "
            "right to read it"
        )
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which is not there; download it again"
    return f"{path} cannot be read ({error.strerror}); see that it is there and can be read"
