"""Search a space of parameters: `Search(space, strategy=..., maximize=..., seed=...)`, then `ask` and `tell`.

gp.py           observations -> a Gaussian process
acquisition.py  a posterior -> how much a reading at a point is worth
ascent.py       a function and many starts -> the tops they climb to
space.py        named parameters -> points of the unit cube, and back
precision.py    a block of code -> the same in 64 bits, on one thread
strategies.py   what has been tried -> the next point
ask_tell.py     the search itself
"""

from mlcourse.search.ask_tell import Search, Trial
from mlcourse.search.space import Categorical, Integer, LogReal, Real

__all__ = ["Categorical", "Integer", "LogReal", "Real", "Search", "Trial"]
