"""``python -m ftweb`` is ``ftweb``."""

from ftweb.cli import main

if __name__ == "__main__":
    main()
