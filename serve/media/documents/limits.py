"""What one file may be and take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Nothing of a file is cut off: one that goes beyond a limit is refused.

    Only pictures of pages have a limit beyond which pages are named as unreadable.

    Attributes:
        bytes: of the file.
        pages: of a PDF. Its text is read in half a millisecond a page, and 100 pages are about as
            many tokens as a long context has.
        characters: of all its text; about 100,000 tokens of English.
        pictures: pages that are made into pictures. Each is hundreds of tokens.
        picture_pixels: of each, at most: an A4 page at 127 dots an inch.
        unpacked_bytes: of all that is in a DOCX, which is a ZIP archive.
        memory: bytes that the process may take beyond those that it begins with.
        seconds: of a core.
    """

    bytes: int = 16 * 2**20
    pages: int = 100
    characters: int = 400_000
    pictures: int = 16
    picture_pixels: int = 1_500_000
    unpacked_bytes: int = 64 * 2**20
    memory: int = 512 * 2**20
    seconds: float = 4.0

    @property
    def answer_bytes(self) -> int:
        """What the texts of a file may take as JSON: a character is six bytes at most, in pairs."""
        return 12 * self.characters + 1000 * self.pages + 10_000
