"""Every family of causal language models that transformers has, tried with tiny models: what works, what is refused.

python benchmarks/architectures.py               all models; writes docs/architectures.md and results/architectures.json
python benchmarks/architectures.py --only NAME   some of them, with every difference
python benchmarks/architectures.py --list        the names

What is right is told by the models themselves and not by theorykit: the matrix products of real passes, plain autograd
for the moments, peft for the adapters, transformers for the folders (benchmarks/architectures/).
"""

from __future__ import annotations

import argparse
import os
import warnings


def main() -> None:
    """Judge, write the page and the record; or show some families."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these families alone, with every difference")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="families at a time")
    arguments = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    warnings.filterwarnings("ignore")  # of transformers and peft, on tiny models

    # torch and transformers read the environment when they are imported
    import record
    from architectures.apart import judge_apart, show
    from architectures.families import all_families
    from architectures.page import record_of, write_page

    families = all_families()
    if arguments.list:
        print("\n".join(f"{family.group}\t{family.name}" for family in families))
    elif arguments.only:
        unknown = set(arguments.only) - {family.name for family in families}
        if unknown:
            parser.error(f"no family {min(unknown)!r}; see --list")
        for row in judge_apart([family for family in families if family.name in arguments.only], arguments.workers):
            show(row)
    else:
        result = record_of(judge_apart(families, arguments.workers))
        write_page(result, record.ROOT / "docs" / "architectures.md")
        record.save("architectures", result)


if __name__ == "__main__":
    main()
