"""The two kinds of failure that a command reports in one line, each with its exit code.

Every error class of the project that a user can cause derives from one of them; what derives from neither is a mistake
of ours, and shows its traceback.
"""

__all__ = ["InputError", "ToolchainError", "first_line", "printable"]

#: Longest text that one line shows; a file may hold a name of a megabyte.
_LONGEST = 2000
#: Longest text of a library's error that a message quotes.
_LONGEST_QUOTED = 200


class InputError(ValueError):
    """What the user gave cannot be used: exit code 1.

    The message is one line that says what is wrong, where, and what to do that works.
    """


class ToolchainError(RuntimeError):
    """A tool that others make is missing or fails: exit code 3.

    The message is one line that names the tool and says how to get it, or where its log is.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of what ``error`` says that is not empty, or the name of its class if there is none.

    Libraries quote the files that they cannot read: what is longer than 200 characters is cut.
    """
    line = next(filter(str.strip, str(error).splitlines()), type(error).__name__)
    return line if len(line) <= _LONGEST_QUOTED else f"{line[:_LONGEST_QUOTED]}..."


def printable(text: str) -> str:
    """Return ``text`` as one line that a terminal can show.

    Line breaks and runs of spaces become one space, other control characters their escapes (a name in a file may hold
    commands for the terminal), and what is longer than 2,000 characters is cut.
    """
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else character.encode("unicode_escape").decode()
                   for character in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ... ({len(line) - _LONGEST} more characters)"
