"""`python -m auto_build` is the console script."""

from auto_build.cli.main import main

main()
