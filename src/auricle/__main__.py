"""`python -m auricle`."""

from auricle.cli.main import main

if __name__ == "__main__":
    main()
