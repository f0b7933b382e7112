"""Images, event frames and labels: the one reader of every command, and the order in which the device gets them.

:mod:`arch.images.inputs` says what fits a network, :mod:`arch.images.formats` reads idx, npy and npz,
:mod:`arch.images.png` reads PNG, :mod:`arch.images.files` opens files, :mod:`arch.images.samples` finds the images of a
network's data set, and :mod:`arch.images.payload` orders bytes.
"""

from arch.images.files import MAX_BYTES, ImageError
from arch.images.formats import load_array
from arch.images.inputs import TakesImages, check_array, load_images, load_labels, parse_images, shape_images
from arch.images.payload import image_bytes, images_digest
from arch.images.samples import Samples, samples_of

__all__ = ["MAX_BYTES", "ImageError", "Samples", "TakesImages", "check_array", "image_bytes", "images_digest",
           "load_array", "load_images", "load_labels", "parse_images", "samples_of", "shape_images"]
