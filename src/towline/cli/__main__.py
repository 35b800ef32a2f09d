"""`python -m towline.cli`: the command line where no script is installed."""

import sys

from towline.cli.main import main

sys.exit(main())
