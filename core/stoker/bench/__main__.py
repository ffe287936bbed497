"""The process that answers."""

from stoker.bench.serve import main

if __name__ == "__main__":
    main()
