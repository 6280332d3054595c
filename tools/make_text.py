"""This Python's help topics into the plain text of mlcourse/texts/python_reference.txt.

    python tools/make_text.py > python_reference.txt

The help of every Python (`help("if")`) carries the language reference in `pydoc_data.topics`. It differs a little between
releases, so the course ships one fixed copy, made by this program under Python 3.11.7 (mlcourse/texts/README.md).
"""

import hashlib
import re
import sys

PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "--", "…": "..."})


def make_text(topics: dict[str, str]) -> str:
    """The topics one after the other, each paragraph once, in ASCII, without tables.

    Many paragraphs stand in several topics (all of "if" is in "compound" too): left in, the validation part would repeat the
    training part. The order is that of a hash of the topics' names, so that any stretch holds a mixture of subjects.
    """
    kept, seen = [], set()
    for name in sorted(topics, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        for paragraph in re.split(r"\n[ \t]*\n\s*?\n*", topics[name].translate(PLAIN).strip("\n")):
            words = re.sub(r"\[\d+\]", "", " ".join(paragraph.split()))  # footnotes are numbered anew in each topic
            is_table = paragraph.lstrip().startswith(("+-", "|"))
            if words and words not in seen and paragraph.isascii() and not is_table:
                seen.add(words)
                kept.append(paragraph.rstrip())
    return "\n\n".join(kept) + "\n"


if __name__ == "__main__":
    from pydoc_data.topics import topics

    sys.stdout.write(make_text(topics))
