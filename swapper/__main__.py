"""``python -m swapper``."""

from swapper.cli import main

if __name__ == "__main__":
    main()
