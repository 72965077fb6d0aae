"""`python -m lmalgebra` is the command `lmalgebra`."""


def _run() -> None:
    from lmalgebra.cli import main

    main()


if __name__ == "__main__":
    _run()
