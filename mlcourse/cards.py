"""What to know about each data set before using it: source, licence, size and known flaws."""

from typing import NamedTuple


class Card(NamedTuple):
    """What to know about a data set before using it."""

    title: str
    source: str
    licence: str
    size: str
    flaws: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.title, f"  source:  {self.source}", f"  licence: {self.licence}", f"  size:    {self.size}"]
        return "\n".join([*lines, *(f"  flaw:    {flaw}" for flaw in self.flaws)])

    __repr__ = __str__


_UCI = "CC BY 4.0 (UCI Machine Learning Repository)"
_MADE = "none needed: made on the spot"
_MADE_FLAWS = ("Made, not measured: the noise is Gaussian, the classes are balanced and no label is wrong.",)

CARDS = {
    "digits": Card(
        "Handwritten digits, small",
        "E. Alpaydin and C. Kaynak 1998, Optical Recognition of Handwritten Digits (test part); scikit-learn",
        _UCI,
        "1,797 images of 8 x 8 pixels with values 0, 1/16, ..., 1; 10 classes of 174 to 183 images",
        (
            "By 13 writers who are not named: a random split has them on both sides, so the test error "
            "is the one for known writers.",
            "Each pixel counts the ink in 4 x 4 dots of a scan; some digits can't be read any more.",
            "A test set of 15 % has about 270 images: one more mistake is 0.4 %.",
        ),
    ),
    "mnist": Card(
        "MNIST handwritten digits",
        "Y. LeCun, C. Cortes and C. Burges 1998, from NIST Special Databases 1 and 3",
        "CC BY-SA 3.0",
        "60,000 images of 28 x 28 pixels with values 0, 1/255, ..., 1, and an official test set of 10,000; "
        "10 classes of 5,421 to 6,742 images",
        (
            "Some labels are wrong: about 15 of the test set's (Northcutt, Athalye and Mueller 2021).",
            "The first 5,000 test images (census staff) are easier than the rest (students): take all.",
            "Writers are not named: a validation split shares them with training, the test set does not.",
            "Decades of methods were chosen on this test set.",
        ),
    ),
    "two_moons": Card(
        "Two half circles that interlock",
        "scikit-learn's make_moons(noise=0.2, random_state=0), rounded to 4 decimals",
        _MADE,
        "1,000 points in the plane; 2 classes of 500 points",
        _MADE_FLAWS,
    ),
    "circles": Card(
        "A circle inside another",
        "scikit-learn's make_circles(noise=0.1, factor=0.5, random_state=0), rounded to 4 decimals",
        _MADE,
        "1,000 points in the plane; 2 classes of 500 points",
        _MADE_FLAWS,
    ),
    "blobs": Card(
        "Round clouds that overlap",
        "scikit-learn's make_blobs(random_state=0) around (0, 0), (3, 0) and (0, 3), rounded to 4 decimals",
        _MADE,
        "999 points in the plane; 3 classes of 333 points",
        _MADE_FLAWS,
    ),
    "iris": Card(
        "Iris flowers",
        "E. Anderson's measurements as in R. A. Fisher 1936 (UCI's copy differs in two rows); scikit-learn",
        _UCI,
        "150 flowers, 4 lengths and widths in cm; 3 classes of 50 flowers",
        (
            "Two flowers have the same four measurements (rows 101 and 142).",
            "A test set of 15 % has about 22 flowers: no method can be told from another on it.",
        ),
    ),
    "wine": Card(
        "Wines from three cultivars",
        "M. Forina and others 1988, chemical analysis of wines from one region of Italy; scikit-learn",
        _UCI,
        "178 wines, 13 measurements in their own units; 3 classes of 48 to 71 wines",
        (
            "Scales differ 2,500 times: scale the features, with the training split's numbers.",
            "Small and nearly separable: most methods reach the same few errors.",
        ),
    ),
    "breast_cancer": Card(
        "Breast tumours, Wisconsin (diagnostic)",
        "W. Wolberg, O. Mangasarian and W. Street 1995; scikit-learn",
        _UCI,
        "569 tumours, 30 measurements of cell nuclei; 2 classes: 212 malignant (0) and 357 benign (1)",
        (
            "Scales differ 200,000 times: scale the features, with the training split's numbers.",
            "Radius, perimeter and area say the same thing three times.",
            "One hospital, and more malignant cases than a screening would meet.",
        ),
    ),
    "tiny_shakespeare": Card(
        "Tiny Shakespeare",
        "parts of the plays of W. Shakespeare, as put together by A. Karpathy 2015 for char-rnn",
        "public domain",
        "1,115,394 characters in 40,000 lines, 65 different characters",
        (
            "Ordered by play: the last tenth is The Taming of the Shrew and The Tempest, so a validation "
            "split at the end also measures the change of play.",
            "A million characters: a model that is not tiny learns them by heart.",
        ),
    ),
    "python_reference": Card(
        "The Python language reference",
        "the help topics of Python 3.11.7 (pydoc_data.topics), each paragraph once, without tables; tools/make_text.py",
        "PSF License Version 2 (mlcourse/texts/LICENSE-PSF.txt); Copyright (c) 2001-2023 Python Software Foundation",
        "341,227 characters in 8,627 lines, 94 different characters",
        (
            "Manual prose with grammar rules and code between: easier to predict than a novel, and full of set phrases.",
            "Lines are broken near column 70, so a model also learns to count to there.",
            "A third of a million characters: a model that is not tiny learns them by heart.",
        ),
    ),
}
