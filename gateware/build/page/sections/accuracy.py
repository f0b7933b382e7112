"""How often the network is right, and where it is wrong."""

import io
import shlex

import numpy as np
import numpy.typing as npt
from PIL import Image

from gateware.build.page.answers import Answers
from gateware.build.page.levels import Level
from gateware.build.page.parts import (
    Better,
    Column,
    Fact,
    Facts,
    Missing,
    Number,
    Part,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    count,
    share,
)
from gateware.build.page.subject import Subject
from gateware.reports.network import Report
from support.counting import counted

__all__ = ["picture_of", "section"]

#: Pictures of wrongly classified images on a page, and classes of a confusion matrix that a page has room for.
_MOST_PICTURES, _MOST_CLASSES = 24, 20


def picture_of(image: npt.NDArray[np.generic]) -> bytes:
    """Return an image as PNG.

    Parameters
    ----------
    image : ``uint8[channels, height, width]`` or ``bool[T, channels, height, width]``
        Three channels are shown in colour, other numbers by their mean; events by how many there are.
    """
    values = np.asarray(image, np.float64)
    if values.ndim == 4:
        values = values.sum(axis=0)
        values = values.sum(axis=0, keepdims=True)
        values = 255 * values / max(1.0, float(values.max()))
    elif len(values) not in (1, 3):
        values = values.mean(axis=0, keepdims=True)
    pixels = np.rint(values).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _cell(number: int, largest: int) -> Number | None:
    """Return a cell of the confusion matrix; an empty one shows nothing."""
    return count(number, bar=number / largest) if number else None


def _matrix(answers: Answers) -> Table:
    table = answers.confusion()
    return Table(
        caption="Images by label (rows) and answer (columns)", shaded=True, measured=False,
        columns=[Column(title="label"), *(Column(title=str(each), level=answers.level) for each in range(len(table)))],
        rows=[[str(label), *(_cell(int(number), int(table.max())) for number in row)]
              for label, row in enumerate(table)])


def _wrong(answers: Answers) -> list[Part]:
    wrong = answers.wrong
    if not wrong:
        return [Text(text="No image was classified wrongly.")]
    shown = wrong[:_MOST_PICTURES]
    more = f"; the first {len(shown)} of them" if len(wrong) > len(shown) else ""
    if answers.images is None:
        pairs = ", ".join(f"{answers.first + index} ({answers.labels[index]} taken for {answers.classes[index]})"
                          for index in shown)
        return [Text(text=f"Wrongly classified images, by number from 0{more}: {pairs}."),
                Missing(what="The images themselves were not given.",
                        command="python -m gateware.build.page BUILD --answers FILE --images IMAGES")]
    return [Pictures(title=f"Wrongly classified images: {len(wrong)} of {len(answers.classes)}{more}", pictures=[
        Picture(content=picture_of(answers.images[index]),
                description=(f"Image {answers.first + index}, of class {answers.labels[index]}, taken for "
                             f"{answers.classes[index]}"),
                caption=f"{answers.labels[index]} as {answers.classes[index]}") for index in shown])]


def _facts(report: Report, answers: Answers | None) -> list[Fact]:
    facts = []
    if report.accuracy is not None:
        of = "" if report.accuracy_images is None else f" of {counted(report.accuracy_images, 'image')}"
        file = "" if report.accuracy_file is None else f" in {report.accuracy_file}"
        facts.append(Fact(
            name="accuracy on the test set", value=share(report.accuracy, 2), level=Level.COMPUTED, better=Better.MORE,
            note=f"of the exported integers, on the reference{of}{file}; says the file of the network"))
    if answers is not None:
        facts.append(Fact(
            name="right answers", value=share(answers.correct / len(answers.classes), 2), level=answers.level,
            note=f"{answers.correct:,} of {len(answers.classes):,}: {answers.source}", better=Better.MORE))
    return facts


def section(subject: Subject) -> Section | None:
    """Say how often it is right; nothing of the overlay, which has no network of its own."""
    report, answers = subject.report, subject.answers
    if not isinstance(report, Report):
        return None
    parts: list[Part] = []
    facts = _facts(report, answers)
    if facts:
        parts.append(Facts(items=facts))
    if answers is None:
        network = shlex.quote(subject.network_word)
        parts.append(Missing(
            what="No answers to single images are known.",
            command=f"python -m sim {network} --images IMAGES --labels LABELS --json > answers.json; "
                    f"python -m gateware.build.page BUILD --network {network} --answers answers.json "
                    f"--images IMAGES"))
    else:
        if max(int(answers.classes.max()), int(answers.labels.max())) < _MOST_CLASSES:
            parts.append(_matrix(answers))
        parts += _wrong(answers)
    return Section(name="accuracy", title="Accuracy", parts=parts, lead=(
        "The circuit gives the answers of the integer network, so its accuracy is that of the integers."))
