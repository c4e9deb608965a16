"""Pillow, of the extra `media`. The one module that imports it."""

try:
    from PIL import Image as Image
    from PIL.GifImagePlugin import GifImageFile as GifImageFile
    from PIL.ImageFile import ImageFile as ImageFile
    from PIL.JpegImagePlugin import JpegImageFile as JpegImageFile
    from PIL.PngImagePlugin import PngImageFile as PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile as WebPImageFile
except ImportError as error:
    raise ImportError(
        "images in a prompt need the extra media: in the checkout run pip install '.[media]'"
    ) from error
