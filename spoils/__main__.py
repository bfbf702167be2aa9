"""`python -m spoils <command>`."""

from spoils.cli.commands import main

if __name__ == "__main__":
    main()
