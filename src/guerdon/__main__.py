"""`python -m guerdon` is the command `guerdon`."""

from guerdon.cli import run_and_exit

if __name__ == "__main__":
    run_and_exit()
