"""`python -m pickapic` is `pickapic`."""

from pickapic.cli.app import main

if __name__ == "__main__":
    main()
