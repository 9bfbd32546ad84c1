"""`python -m helpers.cli`: what the bootstrap hands over to."""

import sys

from helpers.cli import main

sys.exit(main())
