"""`python -m hailbox` is the program `hailbox`."""

from hailbox.cli.app import main

if __name__ == "__main__":
    main()
