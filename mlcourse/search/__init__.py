"""Search a space of parameters: `Search(space, strategy=..., maximize=..., seed=...)`, then `ask` and `tell`.

gp.py           observations -> a Gaussian process
acquisition.py  a posterior -> how much a reading at a point is worth
ascent.py       a function and many starts -> the tops they climb to
space.py        named parameters -> points of the unit cube, and back
precision.py    a block of code -> the same in 64 bits, on one thread
strategies.py   what has been tried -> the next point
ask_tell.py     the search itself

A search drives a sweep of a notebook in batches, each in a folder of its own (tests/test_search_sweep.py runs this):

    search = Search({"learning_rate": LogReal(1e-3, 1.0)}, strategy="bayes", maximize=False, seed=0)
    for k in range(5):
        batch = search.ask(4)
        rows = sweep("notebooks/01_training_loop.ipynb", trials=batch, out=f"runs/search/{k}", workers=2).rows
        for params, row in zip(batch, rows, strict=True):
            if row["status"] == "ok":
                search.tell(params, row["metrics"]["validation_loss"]["value"])
            else:
                search.fail(params)

Stopped, the same lines go on where they were: the seed asks for the same batches, and a sweep repeats nothing that is done.
"""

from mlcourse.search.ask_tell import Search, Trial
from mlcourse.search.space import Categorical, Integer, LogReal, Real

__all__ = ["Categorical", "Integer", "LogReal", "Real", "Search", "Trial"]
