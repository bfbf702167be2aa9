"""`python -m spoils <command>`."""

from spoils.cli import main

if __name__ == "__main__":
    main()
