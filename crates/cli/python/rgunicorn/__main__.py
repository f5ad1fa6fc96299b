"""`rgunicorn` and `python -m rgunicorn`."""

import sys

from rgunicorn import _rgunicorn


def main():
    sys.exit(_rgunicorn.main(sys.argv))


if __name__ == "__main__":
    main()
