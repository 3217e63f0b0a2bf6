"""`python -m auricle`."""

from auricle.cli import main

if __name__ == "__main__":
    main()
