"""``python -m swapper``."""

from swapper.cli.main import main

if __name__ == "__main__":
    main()
