# `make` lists the targets. Each one does its own set-up first: tools/env makes .venv where that is needed.
ENV    := tools/env
PYTHON := $(ENV) python
LESSON ?= notebooks/01_training_loop.ipynb
NBVAL  := --nbval --nbval-current-env --nbval-cell-timeout=600 --numprocesses=2 --dist=loadfile

# One thread and no vector instructions beyond SSE4.2: the cheapest way to another computer.
PORTABLE := XLA_FLAGS="--xla_cpu_max_isa=SSE4_2 --xla_cpu_multi_thread_eigen=false" PJRT_NPROC=1 \
            ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help run test lab lint format exercises execute site lock upgrade test-colab test-newest test-portable test-sizing kill-rate binder-memory bench bench-optimizers bench-search bench-sweep bench-transformer train report dashboard

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run:  ## execute lesson 01 and print its headline numbers (LESSON=notebooks/... for another)
	@$(PYTHON) -m mlcourse run $(LESSON)

test:  ## every test, and every stored notebook output against a new run
	@$(PYTHON) -m pytest notebooks solutions tests mlcourse tools/lock.py --doctest-modules $(NBVAL)

lab:  ## open JupyterLab on the lessons (tools/jupyter switches off what students don't need)
	@JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	$(ENV) jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.default_url=/lab/tree/$(LESSON)

lint:  ## style of code and notebooks, and whether exercises/ is what solutions/ gives
	@$(ENV) ruff check .
	@$(ENV) ruff format --check .
	@$(PYTHON) -m mlcourse lint notebooks solutions exercises
	@$(PYTHON) -m mlcourse exercises --check

format:  ## put code and notebooks into the one style
	@$(ENV) ruff check --fix .
	@$(ENV) ruff format .

exercises:  ## make exercises/ from solutions/
	@$(PYTHON) -m mlcourse exercises

execute:  ## run every stored notebook and keep its outputs
	@$(PYTHON) -m mlcourse execute notebooks/*.ipynb solutions/*.ipynb

site:  ## renew badges and set-up cells from the address in mlcourse/site.py
	@$(PYTHON) -m mlcourse site README.md notebooks/*.ipynb solutions/*.ipynb exercises/*.ipynb

lock:  ## make requirements.txt from pyproject.toml, keeping the versions that still fit
	@$(PYTHON) tools/lock.py

upgrade:  ## the same with the newest versions
	@$(PYTHON) tools/lock.py --upgrade

test-colab:  ## lessons, solutions and checks with the versions Colab has, in .venv-colab
	@$(PYTHON) tools/compatibility.py colab

test-newest:  ## the same with the newest releases, in .venv-newest
	@$(PYTHON) tools/compatibility.py newest

test-portable:  ## stored outputs against a run with one thread and SSE4.2 only
	@$(PORTABLE) $(PYTHON) -m pytest notebooks solutions $(NBVAL)

test-sizing:  ## the memory of 138 training steps beside PyTorch's own trackers (10 minutes)
	@$(PYTHON) -m pytest tests/test_sizing_live.py -m "slow or not slow" --numprocesses=2

binder-memory:  ## measure the memory of JupyterLab with lesson 01 running
	@$(PYTHON) tools/binder_memory.py

train:  ## lesson 01 as a script, with the settings of examples/digits.yaml
	@$(PYTHON) -m mlcourse train --config examples/digits.yaml

report:  ## mark the notebooks in submissions/ (SUBMISSIONS=... for another folder)
	@$(PYTHON) -m mlcourse report $(or $(SUBMISSIONS),submissions)

dashboard:  ## open the page with all tracked runs
	@$(PYTHON) -m mlcourse dashboard

kill-rate:  ## how many of the known wrong answers the checks refuse by name
	@$(PYTHON) -m mlcourse kill-rate

bench:  ## measure the training loops against bare frameworks
	@$(ENV) uv pip install --quiet "lightning>=2.5"
	@$(PYTHON) benchmarks/training.py

bench-optimizers:  ## measure our optimizers against Optax and torch.optim
	@$(PYTHON) benchmarks/optimizers.py

bench-search:  ## compare the search with Optuna, BoTorch and others (set-up: benchmarks/search.py)
	@nice runs/search-env/bin/python benchmarks/search.py run
	@nice runs/search-env/bin/python benchmarks/search.py table

bench-sweep:  ## measure a sweep against papermill in a shell loop
	@$(PYTHON) benchmarks/sweep.py

bench-transformer:  ## measure training the Transformer against bare loops and torch.nn's layers
	@$(PYTHON) benchmarks/transformer.py
